"""An online shop: suppliers, products, customers, orders and order lines."""

import random
from datetime import date

from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, Domain, QuestionSpec, TableData, table_of

_CATEGORIES = ("Electronics", "Kitchen", "Garden", "Toys", "Sports", "Books", "Beauty", "Office")
_CITIES = ("Lyon", "Bergen", "Porto", "Hamburg", "Osaka", "Toronto", "Recife", "Nairobi")
_STATUSES = ("Delivered", "Delivered", "Delivered", "Shipped", "Cancelled", "Returned")
_GOODS = ("Lamp", "Kettle", "Speaker", "Chair", "Puzzle", "Racket", "Notebook", "Mixer", "Camera", "Basket", "Mirror")

QUESTIONS = (
    QuestionSpec("How many orders are there?", "SELECT COUNT(*) FROM orders", "integer", "easy"),
    QuestionSpec(
        "What is the average unit price of products?", "SELECT AVG(unit_price) FROM products", "float", "easy"
    ),
    QuestionSpec(
        "List the names of suppliers in Norway.",
        "SELECT name FROM suppliers WHERE country = 'Norway'",
        "list",
        "easy",
    ),
    QuestionSpec(
        "How many customers have no loyalty tier?",
        "SELECT COUNT(*) FROM customers WHERE loyalty_tier IS NULL",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "What is the name of the product with the highest list price? Break ties alphabetically by name.",
        "SELECT name FROM products ORDER BY list_price DESC, name LIMIT 1",
        "string",
        "easy",
    ),
    QuestionSpec(
        "How many products are in the Electronics category, ignoring case and surrounding spaces?",
        "SELECT COUNT(*) FROM products WHERE LOWER(TRIM(category)) = 'electronics'",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "Show the name and unit price of the five products with the highest unit price, dearest first; "
        "break ties alphabetically by name.",
        "SELECT name, unit_price FROM products ORDER BY unit_price DESC, name LIMIT 5",
        "table",
        "easy",
        ordered=True,
    ),
    QuestionSpec(
        "How many products are there in each category? Ignore case and surrounding spaces in the category, "
        "and show the category and the number of products.",
        "SELECT LOWER(TRIM(category)) AS category, COUNT(*) AS products FROM products GROUP BY LOWER(TRIM(category))",
        "table",
        "medium",
    ),
    QuestionSpec(
        "What is the total revenue of the order items, quantity times the unit price on the item? Some rows were "
        "recorded twice by mistake: count fully identical rows once.",
        "SELECT SUM(quantity * unit_price) FROM (SELECT DISTINCT * FROM order_items)",
        "float",
        "medium",
    ),
    QuestionSpec(
        "What is the name of the supplier with the most products? Break ties alphabetically by name.",
        "SELECT s.name FROM suppliers s JOIN products p ON p.supplier_id = s.supplier_id "
        "GROUP BY s.supplier_id, s.name ORDER BY COUNT(*) DESC, s.name LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "How many orders were placed by customers from the city of Lyon?",
        "SELECT COUNT(*) FROM orders o JOIN customers c ON c.customer_id = o.customer_id WHERE c.city = 'Lyon'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "List the names of the products that have never been ordered, in alphabetical order.",
        "SELECT p.name FROM products p WHERE NOT EXISTS "
        "(SELECT 1 FROM order_items i WHERE i.product_id = p.product_id) ORDER BY p.name",
        "list",
        "medium",
        ordered=True,
    ),
    QuestionSpec(
        "How many different customers, told apart by their email whatever its case, have at least one cancelled order? "
        "Ignore case and surrounding spaces in the order status.",
        "SELECT COUNT(DISTINCT LOWER(c.email)) FROM customers c JOIN orders o ON o.customer_id = c.customer_id "
        "WHERE LOWER(TRIM(o.status)) = 'cancelled'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "What is the total shipping fee of the orders placed by customers from Bergen? Fees are stored as text; "
        "leave out those that are not numbers.",
        "SELECT SUM(TRY_CAST(o.shipping_fee AS DECIMAL(10, 2))) FROM orders o "
        "JOIN customers c ON c.customer_id = o.customer_id WHERE c.city = 'Bergen'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "Which three customers, told apart by their email whatever its case, spent the most, as quantity times unit "
        "price over all their recorded order items? Show the email in lower case and the total spent, biggest "
        "spender first; break ties alphabetically by email.",
        "SELECT LOWER(c.email) AS email, SUM(i.quantity * i.unit_price) AS spent FROM customers c "
        "JOIN orders o ON o.customer_id = c.customer_id JOIN order_items i ON i.order_id = o.order_id "
        "GROUP BY LOWER(c.email) ORDER BY spent DESC, email LIMIT 3",
        "table",
        "hard",
        ordered=True,
    ),
    QuestionSpec(
        "List the product categories (ignoring case and surrounding spaces) whose total revenue, quantity times the "
        "unit price on each recorded order item, is above the average total revenue of a category.",
        "WITH revenue AS (SELECT LOWER(TRIM(p.category)) AS category, SUM(i.quantity * i.unit_price) AS total "
        "FROM order_items i JOIN products p ON p.product_id = i.product_id GROUP BY LOWER(TRIM(p.category))) "
        "SELECT category FROM revenue WHERE total > (SELECT AVG(total) FROM revenue)",
        "list",
        "hard",
    ),
    QuestionSpec(
        "In which month of 2024, written YYYY-MM, did the number of orders grow the most over the month before? "
        "Compare January with December 2023; if several months tie, give the earliest.",
        "WITH monthly AS (SELECT LEFT(order_date, 7) AS month, COUNT(*) AS orders FROM orders GROUP BY month), "
        "growth AS (SELECT month, orders - LAG(orders) OVER (ORDER BY month) AS change FROM monthly) "
        "SELECT month FROM growth WHERE month LIKE '2024-%' ORDER BY change DESC, month LIMIT 1",
        "string",
        "hard",
    ),
)


def _suppliers(rng: random.Random) -> TableData:
    names = words.firms(rng, ("Trading", "Imports", "Supply", "Wholesale", "Goods"), rng.randint(32, 40))
    size = len(names)
    return table_of(
        "suppliers",
        (
            Column("supplier_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("display_name", "VARCHAR", mess.blanked(rng, [name.split()[0] for name in names], 0.2)),
            Column("country", "VARCHAR", mess.blanked(rng, mess.spread(rng, words.COUNTRIES, size), 0.05)),
            Column("rating", "INTEGER", mess.blanked(rng, mess.spread(rng, range(1, 6), size), 0.15)),
        ),
        primary_key=("supplier_id",),
    )


def _products(rng: random.Random, suppliers: int) -> TableData:
    size = rng.randint(95, 130)
    list_prices = mess.money(rng, 5, 400, size)
    keys = mess.orphaned(rng, mess.skewed(rng, range(1, suppliers + 1), size), range(900, 910), 0.05)
    return table_of(
        "products",
        (
            Column("product_id", "INTEGER", range(101, size + 101)),
            Column("name", "VARCHAR", words.pairs(rng, words.ADJECTIVES, _GOODS, size)),
            Column("category", "VARCHAR", mess.recased(rng, mess.skewed(rng, _CATEGORIES * 4, size))),
            Column("list_price", "DECIMAL(10,2)", list_prices),
            Column("unit_price", "DECIMAL(10,2)", mess.scaled(rng, list_prices, 0.6, 0.95)),
            Column("unit_cost", "DECIMAL(10,2)", mess.blanked(rng, mess.scaled(rng, list_prices, 0.2, 0.5), 0.1)),
            Column("supplier_id", "INTEGER", mess.blanked(rng, keys, 0.04)),
        ),
        primary_key=("product_id",),
        foreign_keys=(("supplier_id", "suppliers", "supplier_id"),),
    )


def _customers(rng: random.Random, people: int, entered_twice: int) -> TableData:
    once = words.people(rng, people)
    addresses = [words.email(name, rng.choice(("post.example", "mail.example"))) for name in once]
    names, emails = mess.doubled(rng, once, addresses, entered_twice)
    size = len(names)
    tiers = mess.recased(rng, mess.spread(rng, ("Bronze", "Silver", "Gold"), size), 0.2)
    return table_of(
        "customers",
        (
            Column("customer_id", "INTEGER", range(1001, size + 1001)),
            Column("name", "VARCHAR", names),
            Column("email", "VARCHAR", emails),
            Column("city", "VARCHAR", mess.blanked(rng, mess.spread(rng, _CITIES, size), 0.05)),
            Column("loyalty_tier", "VARCHAR", mess.blanked(rng, tiers, rng.uniform(0.2, 0.4))),
            Column("signup_date", "VARCHAR", mess.iso_dates(rng, date(2019, 1, 1), date(2023, 6, 30), size)),
        ),
        primary_key=("customer_id",),
    )


def _orders(rng: random.Random, customers: int, entered_twice: int) -> TableData:
    size = rng.randint(390, 470)
    ids = range(1001, customers + 1001)
    buyers = mess.skewed(rng, [*ids, *list(ids)[-entered_twice:] * 3], size)
    dates = mess.iso_dates(rng, date(2023, 1, 1), date(2024, 12, 31), size)
    shipped = mess.rewritten(mess.days_after(rng, dates, 1, 9), "%d/%m/%Y")
    return table_of(
        "orders",
        (
            Column("order_id", "INTEGER", range(50001, size + 50001)),
            Column("customer_id", "INTEGER", mess.orphaned(rng, buyers, range(9001, 9010), 0.03)),
            Column("order_date", "VARCHAR", dates),
            Column("shipped_on", "VARCHAR", mess.blanked(rng, shipped, 0.12)),
            Column("status", "VARCHAR", mess.recased(rng, mess.spread(rng, _STATUSES, size))),
            Column("shipping_fee", "VARCHAR", mess.as_text(rng, mess.money(rng, 2, 30, size))),
        ),
        primary_key=("order_id",),
        foreign_keys=(("customer_id", "customers", "customer_id"),),
    )


def _order_items(rng: random.Random, orders: int, products: int) -> TableData:
    size = rng.randint(500, 540)
    ids = range(101, products + 101)
    sold = mess.skewed(rng, mess.without(ids, rng.sample(ids, rng.randint(5, 9))), size)
    lines = table_of(
        "order_items",
        (
            Column("order_id", "INTEGER", mess.skewed(rng, range(50001, orders + 50001), size)),
            Column("product_id", "INTEGER", mess.orphaned(rng, sold, range(7001, 7010), 0.02)),
            Column("quantity", "INTEGER", mess.spread(rng, (1, 1, 2, 3, 4, 6), size)),
            Column("unit_price", "DECIMAL(10,2)", mess.money(rng, 4, 380, size)),
            Column("discount", "DECIMAL(10,2)", mess.blanked(rng, mess.money(rng, 0, 3, size), 0.5)),
        ),
        foreign_keys=(("order_id", "orders", "order_id"), ("product_id", "products", "product_id")),
    )
    return mess.repeated(rng, lines, 0.1)


def build(rng: random.Random) -> Domain:
    """The shop; the same generator state gives the same shop."""
    entered_twice = rng.randint(10, 14)
    suppliers = _suppliers(rng)
    products = _products(rng, len(suppliers.rows))
    customers = _customers(rng, rng.randint(125, 160), entered_twice)
    orders = _orders(rng, len(customers.rows), entered_twice)
    items = _order_items(rng, len(orders.rows), len(products.rows))
    return Domain("retail", (suppliers, products, customers, orders, items), QUESTIONS)
