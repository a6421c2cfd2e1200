"""More jobs with a rewrite that pays: lists, cases, scalars, windows, lookups and early sums."""

from cluster.etl.builtin.domain import Col, JobSpec, TableSpec, draw, one_of
from cluster.etl.builtin.star import SEGMENTS, STATES, customers, events, money, number, orders, word
from services.contracts.etl import Contract, DependencyClause, FormatClause, KeyClause

LISTED_ORDERS = JobSpec(
    "listed_orders",
    "For each customer: number of orders, turnover, and how many different states the orders have.",
    (
        "CREATE TABLE result AS SELECT customer_id, len(list(order_id ORDER BY order_id)) AS orders, "
        "list_sum(list(amount ORDER BY order_id)) AS turnover, "
        "len(list_distinct(list(state ORDER BY order_id))) AS states FROM orders GROUP BY customer_id",
    ),
    (orders(1_000_000, "40000"),),
    (
        "CREATE TABLE result AS SELECT customer_id, count(*) AS orders, sum(amount) AS turnover, "
        "count(DISTINCT state) AS states FROM orders GROUP BY customer_id",
    ),
    Contract(keys=(KeyClause(table="orders", columns=("order_id",)),)),
)

_MATRIX = ", ".join(
    f"sum(CASE WHEN state = '{state}' AND segment = '{segment}' THEN amount ELSE 0 END) AS {state}_{segment}, "
    f"count(CASE WHEN state = '{state}' AND segment = '{segment}' THEN 1 END) AS {state}_{segment}_orders"
    for state in STATES.split()
    for segment in SEGMENTS.split()
)
_PICKED = ", ".join(
    f"sum(CASE WHEN state = '{state}' AND segment = '{segment}' THEN s ELSE 0 END) AS {state}_{segment}, "
    f"coalesce(sum(CASE WHEN state = '{state}' AND segment = '{segment}' THEN n END), 0)::BIGINT "
    f"AS {state}_{segment}_orders"
    for state in STATES.split()
    for segment in SEGMENTS.split()
)
STATE_MATRIX = JobSpec(
    "state_matrix",
    "Turnover and number of orders of each shop by state and segment, one column each.",
    (f"CREATE TABLE result AS SELECT shop, {_MATRIX} FROM orders GROUP BY shop",),
    (orders(2_000_000, "40000", (word("segment", 14, SEGMENTS, nulls=40), number("shop", 15, "40", nulls=99))),),
    (
        f"CREATE TABLE result AS SELECT shop, {_PICKED} FROM (SELECT shop, state, segment, sum(amount) AS s, "
        f"count(*) AS n "
        "FROM orders GROUP BY shop, state, segment) GROUP BY shop",
    ),
)

CUSTOMER_TOTALS = JobSpec(
    "customer_totals",
    "Turnover of each customer, with all that is known of the customer.",
    (
        "CREATE TABLE result AS SELECT customer_id, customer_name, customer_email, customer_city, count(*) AS orders, "
        "sum(amount) AS turnover FROM sales GROUP BY customer_id, customer_name, customer_email, customer_city",
    ),
    (
        TableSpec(
            "sales",
            3_000_000,
            (
                number("customer_id", 1, "100000"),
                *(
                    Col(f"customer_{what}", "VARCHAR", f"'{what} of customer ' || (hash(i, {{seed}}, 1) % 100000)")
                    for what in ("name", "email", "city")
                ),
                money("amount", 3),
            ),
        ),
    ),
    (
        "CREATE TABLE result AS SELECT customer_id, any_value(customer_name) AS customer_name, "
        "any_value(customer_email) AS customer_email, any_value(customer_city) AS customer_city, count(*) AS orders, "
        "sum(amount) AS turnover FROM sales GROUP BY customer_id",
    ),
    Contract(
        dependencies=(
            DependencyClause(
                table="sales",
                determines=("customer_id",),
                dependent=("customer_name", "customer_email", "customer_city"),
            ),
        )
    ),
)

_SCALARS = ", ".join(
    f"(SELECT {what} FROM orders o WHERE o.customer_id = c.customer_id{more}) AS {name}"
    for name, what, more in (
        ("orders", "count(*)", ""),
        ("turnover", "sum(o.amount)", ""),
        ("dearest", "max(o.amount)", ""),
        ("first_order", "min(o.ordered_at)", ""),
        ("last_order", "max(o.ordered_at)", ""),
        ("lost", "count(*)", " AND o.state = 'lost'"),
    )
)
CUSTOMER_CARD = JobSpec(
    "customer_card",
    "One row a customer: orders, turnover, dearest, first and last order, and how many were lost.",
    (f"CREATE TABLE result AS SELECT c.customer_id, c.name, {_SCALARS} FROM customers c",),
    (customers(150_000), orders(1_500_000)),
    (
        "CREATE TABLE result AS SELECT c.customer_id, c.name, coalesce(o.orders, 0) AS orders, o.turnover, o.dearest, "
        "o.first_order, o.last_order, coalesce(o.lost, 0) AS lost FROM customers c LEFT JOIN (SELECT customer_id, "
        "count(*) AS orders, sum(amount) AS turnover, max(amount) AS dearest, min(ordered_at) AS first_order, "
        "max(ordered_at) AS last_order, count(*) FILTER (WHERE state = 'lost') AS lost FROM orders GROUP BY "
        "customer_id) o "
        "USING (customer_id)",
    ),
)

_NAMES = " ".join(f"WHEN code = {number} THEN 'category {number * 7 % 120}'" for number in range(120))
_LIST = ", ".join(f"({number}, 'category {number * 7 % 120}')" for number in range(120))
NAMED_CATEGORIES = JobSpec(
    "named_categories",
    "Sales by the name of their category; the names are in the statement.",
    (f"CREATE TABLE result AS SELECT sale_id, quantity, CASE {_NAMES} ELSE 'other' END AS category FROM sales",),
    (
        TableSpec(
            "sales",
            3_000_000,
            (
                Col("sale_id", "BIGINT", "i::BIGINT"),
                number("code", 2, "130", nulls=50),
                number("quantity", 3, "9"),
            ),
        ),
    ),
    (
        "CREATE TABLE result AS SELECT s.sale_id, s.quantity, coalesce(n.name, 'other') AS category FROM sales s "
        f"LEFT JOIN (VALUES {_LIST}) n(code, name) USING (code)",
    ),
)

PAIR_TOTALS = JobSpec(
    "pair_totals",
    "Turnover and dearest order of every customer and state.",
    (
        "CREATE TABLE result AS SELECT DISTINCT customer_id, state, sum(amount) OVER (PARTITION BY customer_id, "
        "state) AS "
        "turnover, max(amount) OVER (PARTITION BY customer_id, state) AS dearest FROM orders",
    ),
    (orders(5_000_000, "20000"),),
    (
        "CREATE TABLE result AS SELECT customer_id, state, sum(amount) AS turnover, max(amount) AS dearest FROM orders "
        "GROUP BY customer_id, state",
    ),
)

_PAGES = f"['/shop/', '/help/', '/blog/', '/shopping/'][1 + {draw(5, 4)}] || {draw(6, 5000)}"
SHOP_VISITS = JobSpec(
    "shop_visits",
    "Visits of pages of the shop, by user.",
    (
        "CREATE TABLE result AS SELECT user_id, count(*) AS visits FROM visits WHERE regexp_matches(url, '^/shop/.*') "
        "OR regexp_matches(url, '^/help/1.*') GROUP BY user_id",
    ),
    (
        TableSpec(
            "visits",
            9_000_000,
            (
                number("user_id", 1, "30000"),
                Col(
                    "url",
                    "VARCHAR",
                    f"CASE WHEN {draw(7, 70)} > 0 THEN {_PAGES} END",
                    one_of("/shop/1 /help/1 /shop x/shop/"),
                ),
            ),
        ),
    ),
    (
        "CREATE TABLE result AS SELECT user_id, count(*) AS visits FROM visits WHERE starts_with(url, '/shop/') "
        "OR starts_with(url, '/help/1') GROUP BY user_id",
    ),
)


def _channel(name: str) -> TableSpec:
    spec = orders(1_000_000, "20000")
    columns = tuple(Col(c.name, c.type, c.sql.replace("{orders}", f"{{{name}}}"), c.pool) for c in spec.columns)
    return TableSpec(name, spec.rows, columns)


ALL_CHANNELS = JobSpec(
    "all_channels",
    "The orders of both channels in one table.",
    (
        "CREATE TABLE result AS SELECT 'web' AS channel, order_id, customer_id, state, amount FROM web_orders UNION "
        "SELECT 'shop' AS channel, order_id, customer_id, state, amount FROM shop_orders",
    ),
    (_channel("web_orders"), _channel("shop_orders")),
    (
        "CREATE TABLE result AS SELECT 'web' AS channel, order_id, customer_id, state, amount FROM web_orders UNION "
        "ALL "
        "SELECT 'shop' AS channel, order_id, customer_id, state, amount FROM shop_orders",
    ),
    Contract(
        keys=(
            KeyClause(table="web_orders", columns=("order_id",)),
            KeyClause(table="shop_orders", columns=("order_id",)),
        )
    ),
)

MAKER_SALES = JobSpec(
    "maker_sales",
    "Sales and quantity by maker and line.",
    (
        "CREATE TABLE result AS SELECT p.maker, p.line, count(*) AS sales, sum(s.quantity)::BIGINT AS quantity, "
        "max(s.price) AS dearest "
        "FROM sales s JOIN products p ON p.sku = s.sku GROUP BY p.maker, p.line",
    ),
    (
        TableSpec(
            "sales",
            8_000_000,
            (number("sku", 2, "3000", nulls=90), number("quantity", 3, "9"), money("price", 4)),
        ),
        TableSpec(
            "products",
            3_000,
            (
                number("sku", 10, "3000"),
                word("maker", 9, "abel bea carl"),
                Col("line", "VARCHAR", f"'line ' || {draw(8, 200)}"),
            ),
        ),
    ),
    (
        "CREATE TABLE result AS SELECT p.maker, p.line, sum(s.n)::BIGINT AS sales, sum(s.q)::BIGINT AS quantity, "
        "max(s.d) AS dearest FROM "
        "(SELECT sku, count(*) AS n, sum(quantity) AS q, max(price) AS d FROM sales GROUP BY sku) s "
        "JOIN products p ON p.sku = s.sku GROUP BY p.maker, p.line",
    ),
)

_RATES = TableSpec(
    "rates",
    15_000,
    (
        Col("country", "VARCHAR", "['de', 'fr', 'it'][1 + (i % 3)::INTEGER]", one_of("de fr it", null=False)),
        Col("from_at", "TIMESTAMP", "TIMESTAMP '2021-01-01' + to_hours((i // 3) * 7)"),
        Col("rate", "DECIMAL(10,2)", f"({draw(3, 1000)} / 100.0)::DECIMAL(10,2)"),
    ),
)
RATED_ORDERS = JobSpec(
    "rated_orders",
    "Every order with the rate of its country at its time.",
    (
        "CREATE TABLE result AS SELECT o.order_id, o.amount, (SELECT r.rate FROM rates r WHERE r.country = o.country "
        "AND r.from_at <= o.ordered_at ORDER BY r.from_at DESC LIMIT 1) AS rate FROM orders o",
    ),
    (orders(12_000, "500", (word("country", 17, "de fr it pl", nulls=50),)), _RATES),
    (
        "CREATE TABLE result AS SELECT o.order_id, o.amount, r.rate FROM orders o ASOF LEFT JOIN rates r "
        "ON r.country = o.country AND r.from_at <= o.ordered_at",
    ),
    Contract(keys=(KeyClause(table="rates", columns=("country", "from_at")),)),
)

_DIGITS = one_of("1 2 3 10 21")
TEXT_KEYS = JobSpec(
    "text_keys",
    "Events with their customer's segment, over keys of which one is a text.",
    (
        "CREATE TABLE result AS SELECT c.segment, e.kind, count(*) AS events, sum(e.score)::BIGINT AS score FROM "
        "events e "
        "JOIN accounts c ON CAST(e.user_id AS VARCHAR) = c.user_code GROUP BY c.segment, e.kind",
    ),
    (
        events(5_000_000, "{accounts}"),
        TableSpec(
            "accounts",
            60_000,
            (Col("user_code", "VARCHAR", "(i + 1)::VARCHAR", _DIGITS), word("segment", 11, SEGMENTS, nulls=30)),
        ),
    ),
    (
        "CREATE TABLE result AS SELECT c.segment, e.kind, count(*) AS events, sum(e.score)::BIGINT AS score FROM "
        "events e "
        "JOIN accounts c ON e.user_id = CAST(c.user_code AS BIGINT) GROUP BY c.segment, e.kind",
    ),
    Contract(formats=(FormatClause(table="accounts", column="user_code", pattern="[1-9][0-9]{0,8}"),)),
)
