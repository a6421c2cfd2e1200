"""Jobs as they are written in a hurry, each with a rewrite that DuckDB's optimiser does not find by itself."""

from cluster.etl.builtin.domain import Col, JobSpec, TableSpec, draw, one_of
from cluster.etl.builtin.star import customers, events, money, number, orders, word
from services.contracts.etl import Contract, FormatClause, KeyClause

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


def _key(table: str, *columns: str) -> KeyClause:
    return KeyClause(table=table, columns=columns)


def _contact(table: str, key: str, rows: int) -> TableSpec:
    text = "CASE WHEN {0} > 0 THEN '{1}' || {2} END"
    email = text.format(draw(41, 20), "m", "(hash(i, {seed}, 42) % (2 * {leads}))")
    phone = text.format(draw(43, 20), "+", "(hash(i, {seed}, 44) % (2 * {leads}))")
    columns = (Col(key, "BIGINT", "i::BIGINT"), Col("email", "VARCHAR", email), Col("phone", "VARCHAR", phone))
    return TableSpec(table, rows, columns)


LEADS_TO_CUSTOMERS = JobSpec(
    "leads_to_customers",
    "Pairs of leads and customers who share an email address or a telephone number.",
    (
        "CREATE TABLE result AS SELECT l.lead_id, c.customer_id, c.email AS customer_email FROM leads l "
        "JOIN customers c ON l.email = c.email OR l.phone = c.phone",
    ),
    (_contact("leads", "lead_id", 18_000), _contact("customers", "customer_id", 18_000)),
    (
        "CREATE TABLE result AS SELECT l.lead_id, c.customer_id, c.email AS customer_email FROM leads l "
        "JOIN customers c ON l.email = c.email UNION ALL "
        "SELECT l.lead_id, c.customer_id, c.email FROM leads l JOIN customers c ON l.phone = c.phone "
        "WHERE (l.email = c.email) IS NOT TRUE",
    ),
)

_CALENDAR = TableSpec("calendar", 1_460, (Col("day", "DATE", "DATE '2021-01-01' + i::INTEGER"),), fixed=True)
_TICKETS = TableSpec(
    "tickets",
    150_000,
    (
        Col("ticket_id", "BIGINT", "i::BIGINT"),
        Col("opened", "DATE", f"CASE WHEN {draw(1, 90)} > 0 THEN DATE '2021-01-01' + {draw(2, 1400)} END"),
        Col("closed", "DATE", f"DATE '2021-01-01' + {draw(2, 1400)} + {draw(3, 90)} - 2"),
        number("points", 4, "13", nulls=20),
    ),
)
OPEN_TICKETS = JobSpec(
    "open_tickets",
    "For each day of the calendar with an open ticket: how many tickets were open, and their points.",
    (
        "CREATE TABLE result AS SELECT c.day, count(*) AS open_tickets, CAST(sum(t.points) AS BIGINT) AS points FROM "
        "calendar c "
        "JOIN tickets t ON c.day BETWEEN t.opened AND t.closed GROUP BY c.day",
    ),
    (_CALENDAR, _TICKETS),
    (
        "CREATE TABLE result AS WITH marks AS (SELECT opened AS day, 1 AS n, points AS p FROM tickets WHERE opened "
        "<= closed "
        "UNION ALL SELECT closed + 1, -1, -points FROM tickets WHERE opened <= closed), "
        "daily AS (SELECT day, sum(n) AS n, sum(p) AS p, sum(CASE WHEN p IS NOT NULL THEN n END) AS c FROM marks "
        "GROUP BY day), "
        "running AS (SELECT day, sum(n) OVER w AS n, sum(p) OVER w AS p, sum(c) OVER w AS c FROM daily "
        "WINDOW w AS (ORDER BY day)) SELECT c.day, r.n::BIGINT AS open_tickets, CASE WHEN r.c > 0 THEN r.p "
        "END::BIGINT AS points "
        "FROM calendar c ASOF JOIN running r ON c.day >= r.day WHERE r.n > 0",
    ),
    Contract(keys=(_key("calendar", "day"),)),
)

MARCH_ORDERS = JobSpec(
    "march_orders",
    "Orders and turnover of each customer in March 2024.",
    (
        "CREATE TABLE result AS SELECT customer_id, count(*) AS orders, sum(amount) AS turnover FROM orders "
        "WHERE year(ordered_at) = 2024 AND month(ordered_at) = 3 GROUP BY customer_id",
    ),
    (orders(12_000_000, "50000"),),
    (
        "CREATE TABLE result AS SELECT customer_id, count(*) AS orders, sum(amount) AS turnover FROM orders "
        "WHERE ordered_at >= TIMESTAMP '2024-03-01' AND ordered_at < TIMESTAMP '2024-04-01' GROUP BY customer_id",
    ),
)

_SHIPMENTS = TableSpec(
    "shipments",
    6_000_000,
    (
        Col("shipment_id", "BIGINT", "i::BIGINT"),
        Col(
            "shipped_on",
            "VARCHAR",
            f"CASE WHEN {draw(5, 500)} > 0 THEN strftime(DATE '2021-01-01' + (i * 1460 // {{shipments}})::INTEGER, "
            f"'%Y-%m-%d') END",
            one_of("2024-02-29 2024-03-01 2024-03-07 2024-03-08 2021-01-01"),
        ),
        word("carrier", 6, "hare tortoise snail"),
        money("weight", 7),
    ),
)
SHIPMENTS_OF_WEEK = JobSpec(
    "shipments_of_week",
    "Weight shipped by each carrier in the first week of March 2024; the dates are texts.",
    (
        "CREATE TABLE result AS SELECT carrier, shipped_on, sum(weight) AS weight FROM shipments "
        "WHERE strptime(shipped_on, '%Y-%m-%d') >= TIMESTAMP '2024-03-01' "
        "AND strptime(shipped_on, '%Y-%m-%d') < TIMESTAMP '2024-03-08' GROUP BY carrier, shipped_on",
    ),
    (_SHIPMENTS,),
    (
        "CREATE TABLE result AS SELECT carrier, shipped_on, sum(weight) AS weight FROM shipments "
        "WHERE shipped_on >= '2024-03-01' AND shipped_on < '2024-03-08' GROUP BY carrier, shipped_on",
    ),
    Contract(formats=(FormatClause(table="shipments", column="shipped_on", pattern=_DAY),)),
)

FIRST_ORDERS_OF_DAY = JobSpec(
    "first_orders_of_day",
    "Each customer's first order of 5 March 2024.",
    (
        "CREATE TABLE result AS SELECT order_id, customer_id, day, amount FROM (SELECT order_id, customer_id, amount, "
        "CAST(ordered_at AS DATE) AS day, row_number() OVER (PARTITION BY customer_id, CAST(ordered_at AS DATE) "
        "ORDER BY ordered_at, order_id) AS nth FROM orders) d WHERE nth = 1 AND day = DATE '2024-03-05'",
    ),
    (orders(800_000, "20000"),),
    (
        "CREATE TABLE result AS SELECT order_id, customer_id, CAST(ordered_at AS DATE) AS day, amount FROM orders "
        "WHERE CAST(ordered_at AS DATE) = DATE '2024-03-05' "
        "QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY ordered_at, order_id) = 1",
    ),
    Contract(keys=(_key("orders", "order_id"),)),
)

SORTED_THEN_SUMMED = JobSpec(
    "sorted_then_summed",
    "Turnover and number of orders by state and customer.",
    (
        "CREATE TABLE result AS WITH sorted AS (SELECT customer_id, state, amount FROM orders "
        "ORDER BY customer_id, state, ordered_at, order_id) SELECT state, customer_id % 100 AS slot, count(*) AS "
        "orders, "
        "sum(amount) AS turnover FROM sorted GROUP BY state, customer_id % 100",
    ),
    (orders(2_000_000, "20000"),),
    (
        "CREATE TABLE result AS SELECT state, customer_id % 100 AS slot, count(*) AS orders, sum(amount) AS turnover "
        "FROM orders GROUP BY state, customer_id % 100",
    ),
)

_WIDE = customers(400_000, (Col("phone", "VARCHAR", "'+' || (i * 7919)"),))
ORDERS_UNJOINED = JobSpec(
    "orders_unjoined",
    "Turnover and number of orders by state.",
    (
        "CREATE TABLE result AS SELECT o.state, count(*) AS orders, sum(o.amount) AS turnover FROM orders o "
        "LEFT JOIN customers c ON c.customer_id = o.customer_id LEFT JOIN products p ON p.product_id = o.product_id "
        "GROUP BY o.state",
    ),
    (
        orders(2_500_000, "{customers}", (number("product_id", 8, "{products}", nulls=30),)),
        _WIDE,
        TableSpec("products", 300_000, (Col("product_id", "BIGINT", "i::BIGINT"), word("maker", 9, "abel bea carl"))),
    ),
    ("CREATE TABLE result AS SELECT state, count(*) AS orders, sum(amount) AS turnover FROM orders GROUP BY state",),
    Contract(keys=(_key("customers", "customer_id"), _key("products", "product_id"))),
)

_LEDGER = TableSpec(
    "ledger",
    480_000,
    (
        Col("account", "BIGINT", "(i % ({ledger} // 120))::BIGINT", ("1", "2", "3")),
        Col("entry", "BIGINT", "(i // ({ledger} // 120))::BIGINT", ("1", "2", "3", "4")),
        money("amount", 31),
    ),
)
RUNNING_BALANCE = JobSpec(
    "running_balance",
    "Every entry of the ledger with the balance of its account after it.",
    (
        "CREATE TABLE result AS SELECT a.account, a.entry, sum(b.amount) AS balance, count(*) AS entries FROM ledger a "
        "JOIN ledger b ON b.account = a.account AND b.entry <= a.entry GROUP BY a.account, a.entry",
    ),
    (_LEDGER,),
    (
        "CREATE TABLE result AS SELECT account, entry, sum(amount) OVER w AS balance, count(*) OVER w AS entries "
        "FROM ledger WINDOW w AS (PARTITION BY account ORDER BY entry)",
    ),
    Contract(keys=(_key("ledger", "account", "entry"),)),
)

CUSTOMER_REACH = JobSpec(
    "customer_reach",
    "How many orders and events each customer has.",
    (
        "CREATE TABLE result AS SELECT c.customer_id, count(DISTINCT o.order_id) AS orders, "
        "count(DISTINCT e.event_id) AS events, max(e.seen_at) AS last_seen FROM customers c "
        "LEFT JOIN orders o ON o.customer_id = c.customer_id LEFT JOIN events e ON e.user_id = c.customer_id "
        "GROUP BY c.customer_id",
    ),
    (customers(60_000), orders(600_000), events(600_000, "{customers}")),
    (
        "CREATE TABLE result AS SELECT c.customer_id, coalesce(o.n, 0) AS orders, coalesce(e.n, 0) AS events, "
        "e.last_seen "
        "FROM customers c LEFT JOIN (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) o USING "
        "(customer_id) "
        "LEFT JOIN (SELECT user_id, count(*) AS n, max(seen_at) AS last_seen FROM events GROUP BY user_id) e "
        "ON e.user_id = c.customer_id",
    ),
    Contract(keys=(_key("customers", "customer_id"), _key("orders", "order_id"), _key("events", "event_id"))),
)

DISTINCT_ORDERS = JobSpec(
    "distinct_orders",
    "Every order with its customer's segment and country, once.",
    (
        "CREATE TABLE result AS SELECT DISTINCT o.order_id, o.state, o.amount, c.segment, c.country FROM orders o "
        "JOIN customers c ON c.customer_id = o.customer_id",
    ),
    (orders(2_000_000), customers(100_000)),
    (
        "CREATE TABLE result AS SELECT o.order_id, o.state, o.amount, c.segment, c.country FROM orders o "
        "JOIN customers c ON c.customer_id = o.customer_id",
    ),
    Contract(keys=(_key("orders", "order_id"), _key("customers", "customer_id"))),
)

_SKU = r"[a-z]{2}-[0-9]+"
_SKUS = one_of("ab-1 ab-2 cd-1 cd-10")
CLEANED_KEYS = JobSpec(
    "cleaned_keys",
    "Quantity sold by maker; product codes are cleaned before they are compared.",
    (
        "CREATE TABLE result AS SELECT p.maker, count(*) AS sales, sum(s.quantity)::BIGINT AS quantity FROM sales s "
        "JOIN products p ON lower(trim(p.sku)) = lower(trim(s.sku)) GROUP BY p.maker",
    ),
    (
        TableSpec(
            "sales",
            4_000_000,
            (
                Col("sku", "VARCHAR", f"CASE WHEN {draw(1, 80)} > 0 THEN 'ab-' || {draw(2, 30_000)} END", _SKUS),
                number("quantity", 3, "9"),
            ),
        ),
        TableSpec("products", 20_000, (Col("sku", "VARCHAR", "'ab-' || i", _SKUS), word("maker", 9, "abel bea carl"))),
    ),
    (
        "CREATE TABLE result AS SELECT p.maker, count(*) AS sales, sum(s.quantity)::BIGINT AS quantity FROM sales s "
        "JOIN products p ON p.sku = s.sku GROUP BY p.maker",
    ),
    Contract(
        formats=(
            FormatClause(table="sales", column="sku", pattern=_SKU),
            FormatClause(table="products", column="sku", pattern=_SKU),
        )
    ),
)

VISITS_BEFORE_BUYING = JobSpec(
    "visits_before_buying",
    "How many views by kind were followed by a later purchase of the same user.",
    (
        "CREATE TABLE result AS SELECT e.user_id, count(*) AS views, max(e.score) AS best FROM events e "
        "WHERE e.kind = 'view' AND EXISTS (SELECT 1 FROM events l WHERE l.user_id = e.user_id AND l.seen_at > "
        "e.seen_at "
        "AND l.kind = 'buy') GROUP BY e.user_id",
    ),
    (events(4_000_000, "({events} // 100 + 1)"),),
    (
        "CREATE TABLE result AS SELECT user_id, count(*) AS views, max(score) AS best FROM (SELECT *, "
        "max(CASE WHEN kind = 'buy' THEN seen_at END) OVER (PARTITION BY user_id) AS last_buy FROM events) "
        "WHERE kind = 'view' AND last_buy > seen_at AND user_id IS NOT NULL GROUP BY user_id",
    ),
)
