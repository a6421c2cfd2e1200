"""The tables of the built-in jobs: a shop's orders, items, events and customers, rows in order of time."""

from cluster.etl.builtin.domain import Col, TableSpec, draw, one_of, pick

STATES = "new paid sent back lost held"
SEGMENTS = "home trade public"
_START = "TIMESTAMP '2021-01-01 00:00:00'"
_FOUR_YEARS_S = 4 * 365 * 86_400


def at(name: str, table: str, start: str = _START, span_s: int = _FOUR_YEARS_S) -> Col:
    """Times that rise with the rows, evenly over the span."""
    moment = f"{start} + to_seconds((i::BIGINT * {span_s}) // {{{table}}} + {draw(90, 50)})"
    return Col(name, "TIMESTAMP", moment)


def number(name: str, draw_number: int, among: str, nulls: int = 0) -> Col:
    """A whole number below `among`, which may name a table; one in `nulls` is null."""
    value = f"(hash(i, {{seed}}, {draw_number}) % {among})::BIGINT"
    return Col(name, "BIGINT", f"CASE WHEN {draw(draw_number + 50, nulls)} > 0 THEN {value} END" if nulls else value)


def money(name: str, draw_number: int) -> Col:
    """An amount below 1000.00, one in fifty is null."""
    value = f"({draw(draw_number, 100_000)} / 100.0)::DECIMAL(10,2)"
    return Col(name, "DECIMAL(10,2)", f"CASE WHEN {draw(draw_number + 50, 50)} > 0 THEN {value} END")


def word(name: str, draw_number: int, words: str, nulls: int = 0) -> Col:
    """One of the words; one in `nulls` is null."""
    value = pick(draw_number, words)
    if nulls:
        value = f"CASE WHEN {draw(draw_number + 50, nulls)} > 0 THEN {value} END"
    return Col(name, "VARCHAR", value, one_of(words))


def orders(rows: int, customers: str = "{customers}", more: tuple[Col, ...] = ()) -> TableSpec:
    """Orders, by time."""
    columns = (
        Col("order_id", "BIGINT", "i::BIGINT"),
        number("customer_id", 1, customers, nulls=200),
        at("ordered_at", "orders"),
        word("state", 2, STATES, nulls=100),
        money("amount", 3),
    )
    return TableSpec("orders", rows, (*columns, *more))


def customers(rows: int, more: tuple[Col, ...] = ()) -> TableSpec:
    """Customers by number."""
    columns = (
        Col("customer_id", "BIGINT", "i::BIGINT"),
        Col("name", "VARCHAR", "'customer ' || i"),
        word("segment", 11, SEGMENTS, nulls=30),
        word("country", 12, "de fr it es pl se", nulls=40),
    )
    return TableSpec("customers", rows, (*columns, *more))


def events(rows: int, users: str, more: tuple[Col, ...] = ()) -> TableSpec:
    """What users did, by time."""
    columns = (
        Col("event_id", "BIGINT", "i::BIGINT"),
        number("user_id", 21, users, nulls=300),
        at("seen_at", "events"),
        word("kind", 22, "view cart buy leave", nulls=150),
        number("score", 23, "100", nulls=60),
    )
    return TableSpec("events", rows, (*columns, *more))
