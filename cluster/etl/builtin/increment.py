"""An incremental job as it grew over the years: the day's events, cleaned and joined, are added to a table."""

from cluster.etl.builtin.domain import Col, JobSpec, TableSpec, draw, one_of
from cluster.etl.builtin.star import SEGMENTS, word
from services.contracts.etl import Contract, FormatClause, KeyClause

_CODE = r"[a-z]{2}-[0-9]+"
_CODES = one_of("ab-1 ab-2 cd-1 cd-10")
_PRODUCT = r"[1-9][0-9]{0,8}"
_PRODUCTS = one_of("1 2 3 10")
_DAY_S = 86_400
_STRAYS = 20
"""One event in so many is of the day before or after, as late and early files are."""
_HAPPENED = (
    f"TIMESTAMP '2024-03-05' + to_microseconds(((i * {_DAY_S}000000) // {{raw_events}})::BIGINT) + "
    f"to_hours(CASE (hash(i, {{seed}}, 8) % {_STRAYS})::INTEGER WHEN 0 THEN 24 WHEN 1 THEN -24 ELSE 0 END)"
)
_MOMENTS = tuple(
    f"TIMESTAMP '{moment}'"
    for moment in ("2024-03-04 23:59:59.999999", "2024-03-05 00:00:00", "2024-03-05 23:59:59.5", "2024-03-06 00:00:00")
)

RAW_EVENTS = TableSpec(
    "raw_events",
    2_830_000,
    (
        Col("event_id", "BIGINT", "i::BIGINT"),
        Col("happened_at", "TIMESTAMP", _HAPPENED, (*_MOMENTS, "NULL")),
        Col("user_code", "VARCHAR", "'ab-' || (hash(i, {seed}, 2) % ({users} * 101 // 100))", _CODES),
        Col(
            "product_code",
            "VARCHAR",
            f"CASE WHEN {draw(5, 90)} > 0 THEN ({draw(6, 20_000)} + 1)::VARCHAR END",
            _PRODUCTS,
        ),
        Col("campaign_id", "BIGINT", "(hash(i, {seed}, 7) % 500)::BIGINT"),
        word("kind", 9, "view cart buy leave", nulls=150),
        Col(
            "amount",
            "DECIMAL(10,2)",
            f"CASE WHEN {draw(10, 30)} > 0 THEN ({draw(11, 50_000)} / 100.0)::DECIMAL(10,2) END",
        ),
    ),
)
_USERS = TableSpec(
    "users",
    100_000,
    (Col("user_code", "VARCHAR", "'ab-' || i", _CODES), word("segment", 12, SEGMENTS, nulls=30)),
)
_CATALOGUE = TableSpec(
    "products",
    20_000,
    (Col("product_id", "BIGINT", "i::BIGINT + 1"), Col("category", "VARCHAR", "'category ' || i % 200")),
    fixed=True,
)
_CAMPAIGNS = TableSpec(
    "campaigns",
    500,
    (Col("campaign_id", "BIGINT", "i::BIGINT"), Col("title", "VARCHAR", "'campaign ' || i")),
    fixed=True,
)

DAILY_EVENTS = JobSpec(
    "daily_events",
    "Add the events of 5 March 2024 to daily_events, with the user's segment and the product's category.",
    (
        "INSERT INTO daily_events SELECT e.event_id, CAST(e.happened_at AS DATE) AS day, e.user_code, u.segment, "
        "p.category, e.kind, e.amount FROM (SELECT DISTINCT event_id, happened_at, user_code, product_code, "
        "campaign_id, "
        "kind, amount FROM raw_events) e JOIN users u ON lower(trim(u.user_code)) = lower(trim(e.user_code)) "
        "LEFT JOIN products p ON CAST(p.product_id AS VARCHAR) = trim(e.product_code) "
        "LEFT JOIN campaigns c ON c.campaign_id = e.campaign_id "
        "WHERE strftime(e.happened_at, '%Y-%m-%d') = '2024-03-05'",
    ),
    (RAW_EVENTS, _USERS, _CATALOGUE, _CAMPAIGNS),
    (
        "INSERT INTO daily_events SELECT e.event_id, CAST(e.happened_at AS DATE) AS day, e.user_code, u.segment, "
        "p.category, e.kind, e.amount FROM raw_events e JOIN users u ON u.user_code = e.user_code "
        "LEFT JOIN products p ON p.product_id = CAST(e.product_code AS BIGINT) "
        "WHERE e.happened_at >= TIMESTAMP '2024-03-05' AND e.happened_at < TIMESTAMP '2024-03-06'",
    ),
    Contract(
        keys=(
            KeyClause(table="raw_events", columns=("event_id",)),
            KeyClause(table="users", columns=("user_code",)),
            KeyClause(table="products", columns=("product_id",)),
            KeyClause(table="campaigns", columns=("campaign_id",)),
        ),
        formats=(
            FormatClause(table="raw_events", column="user_code", pattern=_CODE),
            FormatClause(table="users", column="user_code", pattern=_CODE),
            FormatClause(table="raw_events", column="product_code", pattern=_PRODUCT),
        ),
    ),
    output="daily_events",
    mode="insert",
    before=(
        "SELECT -i AS event_id, DATE '2024-03-04' AS day, 'ab-' || i % 100 AS user_code, 'home' AS segment, "
        "'category ' || i % 200 AS category, 'view' AS kind, (i % 1000)::DECIMAL(10,2) AS amount FROM range(1, 1001) "
        "r(i)"
    ),
    touched=("day = DATE '2024-03-05'",),
)
