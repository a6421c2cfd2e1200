"""What a shop sells and what it calls its tables: the same four tables under other names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Skin:
    """Names of one trade. `people` order; a `line` is one item sold on one day."""

    name: str
    people: str
    person: str
    items: str
    item: str
    orders: str
    order: str
    lines: str
    line: str
    placed: str
    sold: str
    categories: tuple[str, ...]
    goods: tuple[str, ...]


SKINS = (
    Skin(
        "shop", "customers", "customer", "products", "product", "orders", "order", "sales", "sale",
        "ordered_on", "sold_on",
        ("Electronics", "Kitchen", "Garden", "Toys", "Sports", "Books", "Beauty"),
        ("Lamp", "Kettle", "Speaker", "Chair", "Puzzle", "Racket", "Notebook", "Mixer"),
    ),
    Skin(
        "bakery", "guests", "guest", "goods", "good", "tickets", "ticket", "ticket_lines", "ticket_line",
        "opened_on", "baked_on",
        ("Bread", "Cakes", "Coffee", "Sandwiches", "Pastry", "Tea"),
        ("Loaf", "Roll", "Tart", "Bun", "Slice", "Cup", "Wreath", "Twist"),
    ),
    Skin(
        "gallery", "collectors", "collector", "works", "work", "invoices", "invoice", "invoice_items", "invoice_item",
        "issued_on", "sold_on",
        ("Painting", "Sculpture", "Print", "Photograph", "Drawing", "Textile"),
        ("Study", "Portrait", "View", "Figure", "Harbour", "Field", "Interior", "Head"),
    ),
    Skin(
        "garage", "drivers", "driver", "parts", "part", "repairs", "repair", "fittings", "fitting",
        "booked_on", "fitted_on",
        ("Brakes", "Engine", "Tyres", "Body", "Lights", "Glass", "Fluids"),
        ("Pad", "Belt", "Filter", "Bulb", "Panel", "Valve", "Seal", "Pump"),
    ),
    Skin(
        "nursery", "growers", "grower", "plants", "plant", "deliveries", "delivery", "crates", "crate",
        "requested_on", "packed_on",
        ("Herbs", "Shrubs", "Trees", "Roses", "Bulbs", "Climbers"),
        ("Thyme", "Maple", "Fern", "Iris", "Ivy", "Laurel", "Tulip", "Sage"),
    ),
)  # fmt: skip
