"""Jobs with a tempting rewrite that is wrong, on data that shows it, beside one that is right."""

from cluster.etl.builtin.domain import NOTHING_DECLARED, JobSpec, TableSpec
from cluster.etl.builtin.star import STATES, at, customers, events, money, number, orders, word
from services.contracts.etl import Contract, KeyClause

_MAKE = "CREATE TABLE result AS "


def _trap(
    task_key: str, question: str, original: str, wrong: str, right: str, tables: tuple[TableSpec, ...],
    contract: Contract = NOTHING_DECLARED,
) -> JobSpec:  # fmt: skip
    statements = tuple((_MAKE + query,) for query in (original, right, wrong))
    return JobSpec(task_key, question, statements[0], tables, statements[1], contract, statements[2])


UNSEEN_USERS = _trap(
    "unseen_users",
    "Orders of customers of whom no event of the same kind of state is known.",
    "SELECT o.order_id, o.amount FROM orders o WHERE o.customer_id NOT IN "
    "(SELECT e.user_id FROM events e WHERE e.kind = o.state)",
    "SELECT o.order_id, o.amount FROM orders o WHERE NOT EXISTS "
    "(SELECT 1 FROM events e WHERE e.kind = o.state AND e.user_id = o.customer_id)",
    "SELECT o.order_id, o.amount FROM orders o LEFT JOIN (SELECT kind, count(*) AS n, count(*) - count(user_id) AS "
    "unknown "
    "FROM events GROUP BY kind) k ON k.kind = o.state LEFT JOIN (SELECT DISTINCT kind, user_id FROM events) e "
    "ON e.kind = o.state AND e.user_id = o.customer_id "
    "WHERE coalesce(k.n, 0) = 0 OR (e.user_id IS NULL AND k.unknown = 0 AND o.customer_id IS NOT NULL)",
    (
        TableSpec(
            "orders",
            60_000,
            (
                number("order_id", 5, "9000000000"),
                number("customer_id", 1, "500", 40),
                word("state", 2, STATES),
                money("amount", 3),
            ),
        ),
        TableSpec("events", 60_000, (number("user_id", 21, "400", 25), word("kind", 22, "new paid sent"))),
    ),
)

OVERLAPPING_LISTS = _trap(
    "overlapping_lists",
    "Customers who have bought in either year, once each.",
    "SELECT customer_id FROM orders WHERE year(ordered_at) = 2023 UNION SELECT customer_id FROM orders WHERE "
    "year(ordered_at) = 2024",
    "SELECT customer_id FROM orders WHERE year(ordered_at) = 2023 UNION ALL SELECT customer_id FROM orders WHERE "
    "year(ordered_at) = 2024",
    "SELECT DISTINCT customer_id FROM orders WHERE ordered_at >= TIMESTAMP '2023-01-01' AND ordered_at < TIMESTAMP "
    "'2025-01-01'",
    (orders(2_000_000, "60000"),),
)

TURNOVER_AND_VISITS = _trap(
    "turnover_and_visits",
    "Turnover and number of events of each segment.",
    "SELECT c.segment, (SELECT sum(o.amount) FROM orders o JOIN customers k USING (customer_id) WHERE k.segment = "
    "c.segment) "
    "AS turnover, (SELECT count(*) FROM events e JOIN customers k ON k.customer_id = e.user_id WHERE k.segment = "
    "c.segment) "
    "AS visits FROM customers c GROUP BY c.segment",
    "SELECT c.segment, sum(o.amount) AS turnover, count(e.event_id) AS visits FROM customers c "
    "LEFT JOIN orders o USING (customer_id) LEFT JOIN events e ON e.user_id = c.customer_id GROUP BY c.segment",
    "SELECT s.segment, t.turnover, coalesce(v.visits, 0) AS visits FROM (SELECT DISTINCT segment FROM customers) s "
    "LEFT JOIN (SELECT k.segment, sum(o.amount) AS turnover FROM orders o JOIN customers k USING (customer_id) GROUP "
    "BY k.segment) t "
    "ON t.segment = s.segment LEFT JOIN (SELECT k.segment, count(*) AS visits FROM events e JOIN customers k "
    "ON k.customer_id = e.user_id GROUP BY k.segment) v ON v.segment = s.segment",
    (customers(2_000), orders(100_000), events(100_000, "{customers}")),
    Contract(keys=(KeyClause(table="customers", columns=("customer_id",)),)),
)

DEAREST_WITH_TIES = _trap(
    "dearest_with_ties",
    "Each customer's dearest orders; where several cost the same, all of them.",
    "SELECT customer_id, order_id, points FROM (SELECT customer_id, order_id, points, rank() OVER (PARTITION BY "
    "customer_id "
    "ORDER BY points DESC NULLS LAST) AS nth FROM orders) r WHERE nth = 1",
    "SELECT customer_id, arg_max(order_id, points) AS order_id, max(points) AS points FROM orders GROUP BY customer_id",
    "SELECT o.customer_id, o.order_id, o.points FROM orders o JOIN (SELECT customer_id, max(points) AS points FROM "
    "orders "
    "GROUP BY customer_id) m ON m.customer_id IS NOT DISTINCT FROM o.customer_id AND m.points IS NOT DISTINCT FROM "
    "o.points",
    (orders(1_000_000, "40000", (number("points", 6, "6", nulls=20),)),),
)

FEBRUARY_IN_NEW_YORK = _trap(
    "february_in_new_york",
    "Events of February 2024 by the clock of New York; the times are kept in UTC.",
    "SELECT kind, count(*) AS events FROM events WHERE strftime(timezone('America/New_York', timezone('UTC', "
    "seen_at)), '%Y-%m') "
    "= '2024-02' GROUP BY kind",
    "SELECT kind, count(*) AS events FROM events WHERE seen_at >= TIMESTAMP '2024-02-01' AND seen_at < TIMESTAMP "
    "'2024-03-01' "
    "GROUP BY kind",
    "SELECT kind, count(*) AS events FROM events WHERE seen_at >= TIMESTAMP '2024-02-01 05:00:00' "
    "AND seen_at < TIMESTAMP '2024-03-01 05:00:00' GROUP BY kind",
    (
        TableSpec(
            "events",
            500_000,
            (at("seen_at", "events", "TIMESTAMP '2024-01-20 00:00:00'", 55 * 86_400), word("kind", 2, "view cart buy")),
        ),
    ),
)

LAST_DAY_TOO = _trap(
    "last_day_too",
    "Turnover from 1 to 31 March 2024, both days whole.",
    "SELECT state, sum(amount) AS turnover FROM orders WHERE strftime(ordered_at, '%Y-%m-%d') BETWEEN '2024-03-01' "
    "AND '2024-03-31' GROUP BY state",
    "SELECT state, sum(amount) AS turnover FROM orders WHERE ordered_at BETWEEN TIMESTAMP '2024-03-01' "
    "AND TIMESTAMP '2024-03-31' GROUP BY state",
    "SELECT state, sum(amount) AS turnover FROM orders WHERE ordered_at >= TIMESTAMP '2024-03-01' "
    "AND ordered_at < TIMESTAMP '2024-04-01' GROUP BY state",
    (orders(1_000_000, "60000"),),
)

EITHER_PARENT = _trap(
    "either_parent",
    "Pairs of orders and customers where the customer has ordered or pays.",
    "SELECT o.order_id, c.name FROM orders o JOIN customers c ON c.customer_id = o.customer_id OR c.customer_id = "
    "o.payer_id",
    "SELECT o.order_id, c.name FROM orders o JOIN customers c ON c.customer_id = o.customer_id UNION ALL "
    "SELECT o.order_id, c.name FROM orders o JOIN customers c ON c.customer_id = o.payer_id",
    "SELECT o.order_id, c.name FROM orders o JOIN customers c ON c.customer_id = o.customer_id UNION ALL "
    "SELECT o.order_id, c.name FROM orders o JOIN customers c ON c.customer_id = o.payer_id "
    "WHERE (c.customer_id = o.customer_id) IS NOT TRUE",
    (orders(12_000, "7", (number("payer_id", 7, "7", nulls=9),)), customers(5_000)),
)

PAID_OR_NOTHING = _trap(
    "paid_or_nothing",
    "Every customer with the turnover of paid orders; customers without any keep their row.",
    "SELECT c.customer_id, c.segment, count(o.order_id) AS orders, sum(o.amount) AS turnover FROM customers c LEFT "
    "JOIN orders o "
    "ON o.customer_id = c.customer_id AND o.state = 'paid' GROUP BY c.customer_id, c.segment",
    "SELECT c.customer_id, c.segment, count(o.order_id) AS orders, sum(o.amount) AS turnover FROM customers c LEFT "
    "JOIN orders o "
    "ON o.customer_id = c.customer_id WHERE o.state = 'paid' GROUP BY c.customer_id, c.segment",
    "SELECT c.customer_id, c.segment, coalesce(o.orders, 0) AS orders, o.turnover FROM customers c LEFT JOIN (SELECT "
    "customer_id, "
    "count(*) AS orders, sum(amount) AS turnover FROM orders WHERE state = 'paid' GROUP BY customer_id) o USING "
    "(customer_id)",
    (customers(200_000), orders(600_000)),
    Contract(
        keys=(KeyClause(table="customers", columns=("customer_id",)), KeyClause(table="orders", columns=("order_id",)))
    ),
)

STEP_BEFORE_BUYING = _trap(
    "step_before_buying",
    "Purchases with the kind of the user's event just before.",
    "SELECT event_id, user_id, before FROM (SELECT event_id, user_id, kind, lag(kind) OVER (PARTITION BY user_id "
    "ORDER BY seen_at, event_id) AS before FROM events) s WHERE kind = 'buy'",
    "SELECT event_id, user_id, lag(kind) OVER (PARTITION BY user_id ORDER BY seen_at, event_id) AS before FROM events "
    "WHERE kind = 'buy'",
    "SELECT event_id, user_id, lag(kind) OVER (PARTITION BY user_id ORDER BY seen_at, event_id) AS before FROM events "
    "QUALIFY kind = 'buy'",
    (events(800_000, "({events} // 40 + 1)"),),
    Contract(keys=(KeyClause(table="events", columns=("event_id",)),)),
)

ORDERS_OR_ZERO = _trap(
    "orders_or_zero",
    "Every customer with the number of orders, 0 where there is none.",
    "SELECT c.customer_id, c.name, (SELECT count(*) FROM orders o WHERE o.customer_id = c.customer_id) AS orders, "
    "(SELECT count(*) FROM orders o WHERE o.customer_id = c.customer_id AND o.state = 'lost') AS lost FROM customers c",
    "SELECT c.customer_id, c.name, count(*) AS orders, count(*) FILTER (WHERE o.state = 'lost') AS lost FROM "
    "customers c "
    "JOIN orders o ON o.customer_id = c.customer_id GROUP BY c.customer_id, c.name",
    "SELECT c.customer_id, c.name, coalesce(o.orders, 0) AS orders, coalesce(o.lost, 0) AS lost FROM customers c "
    "LEFT JOIN (SELECT customer_id, count(*) AS orders, count(*) FILTER (WHERE state = 'lost') AS lost FROM orders "
    "GROUP BY customer_id) o USING (customer_id)",
    (customers(150_000), orders(600_000, "({customers} // 2)")),
    Contract(keys=(KeyClause(table="customers", columns=("customer_id",)),)),
)

BUYERS_OF_YEAR = _trap(
    "buyers_of_year",
    "Number of different customers by state over the whole year, and of their orders.",
    "SELECT state, count(DISTINCT customer_id) AS buyers, count(*) AS orders FROM orders GROUP BY state",
    "SELECT state, sum(buyers)::BIGINT AS buyers, sum(orders)::BIGINT AS orders FROM (SELECT state, "
    "date_trunc('month', ordered_at) "
    "AS month, count(DISTINCT customer_id) AS buyers, count(*) AS orders FROM orders GROUP BY ALL) GROUP BY state",
    "SELECT state, count(customer_id) AS buyers, sum(n)::BIGINT AS orders FROM (SELECT state, customer_id, count(*) "
    "AS n "
    "FROM orders GROUP BY state, customer_id) GROUP BY state",
    (orders(1_500_000, "60000"),),
)

BALANCE_BY_DAY = _trap(
    "balance_by_day",
    "Every booking with the balance of its account at the end of its day, which all bookings of a day share.",
    "SELECT booking_id, account, day, sum(amount) OVER (PARTITION BY account ORDER BY day) AS balance FROM bookings",
    "SELECT booking_id, account, day, sum(amount) OVER (PARTITION BY account ORDER BY day ROWS UNBOUNDED PRECEDING) "
    "AS balance "
    "FROM bookings",
    "SELECT b.booking_id, b.account, b.day, d.balance FROM bookings b JOIN (SELECT account, day, sum(sum(amount)) OVER "
    "(PARTITION BY account ORDER BY day) AS balance FROM bookings GROUP BY account, day) d "
    "ON d.account IS NOT DISTINCT FROM b.account AND d.day IS NOT DISTINCT FROM b.day",
    (
        TableSpec(
            "bookings",
            600_000,
            (
                number("booking_id", 4, "9000000000"),
                number("account", 1, "3000", 40),
                number("day", 2, "60", 30),
                money("amount", 3),
            ),
        ),
    ),
)

NOT_PAID = _trap(
    "not_paid",
    "Orders that are not known to be paid: those of another state, and those of no state.",
    "SELECT customer_id, count(*) AS orders, count(state) AS known FROM orders WHERE state IS DISTINCT FROM 'paid' "
    "GROUP BY customer_id",
    "SELECT customer_id, count(*) AS orders, count(*) AS known FROM orders WHERE state <> 'paid' GROUP BY customer_id",
    "SELECT customer_id, count(*) AS orders, count(state) AS known FROM orders WHERE state <> 'paid' OR state IS "
    "NULL GROUP BY customer_id",
    (orders(1_500_000, "60000"),),
)
