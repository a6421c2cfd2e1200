"""Honest analysis gets through the guard, and its rows are those that a plain connection gives."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytest_asyncio

from services.contracts.cells import cell_text
from services.contracts.statements import Refused, ResultTable
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

pytestmark = pytest.mark.asyncio(loop_scope="module")

HONEST: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("data").joinpath("honest.jsonl").read_text().splitlines()
]
TABLES = """\
CREATE TABLE customers (customer_id INTEGER, name VARCHAR, region VARCHAR, info JSON);
INSERT INTO customers VALUES
    (1, 'Anna', 'north', '{"city": "Oslo", "tags": ["a", "b"]}'),
    (2, 'Bo', 'south', '{"city": "Rome", "tags": []}'),
    (3, 'carla', 'north', '{"city": "Köln", "tags": ["c"]}'),
    (4, 'Dan', NULL, '{}');
CREATE TABLE orders (order_id INTEGER, customer_id INTEGER, day DATE, amount DECIMAL(8, 2), status VARCHAR);
INSERT INTO orders VALUES
    (1, 1, '2024-01-01', 10.50, 'paid'), (2, 1, '2024-01-03', 99.90, 'open'), (3, 2, '2024-01-03', 55.00, 'paid'),
    (4, 3, '2024-02-10', 7.25, 'paid'), (5, 1, '2024-02-29', NULL, 'open'), (6, 3, '2024-03-01', 120.00, 'void');
CREATE TABLE staff (id INTEGER, boss INTEGER);
INSERT INTO staff VALUES (1, NULL), (2, 1), (3, 1), (4, 3);
CREATE TABLE prices (since DATE, price DOUBLE);
INSERT INTO prices VALUES ('2024-01-02', 1.5), ('2024-02-15', 2.5);
CREATE TABLE "odd names" ("Unit Price" DOUBLE, "select" VARCHAR);
INSERT INTO "odd names" VALUES (1.25, 'x'), (2.5, 'y');
CREATE TABLE events (id INTEGER, seen TIMESTAMP, tags VARCHAR[], payload STRUCT(kind VARCHAR, size INTEGER));
INSERT INTO events VALUES
    (1, '2024-05-06 07:08:09.5', ['alpha', 'beta'], {'kind': 'click', 'size': 3}),
    (2, '2024-05-07 00:00:00', [], {'kind': NULL, 'size': 0}), (3, NULL, NULL, NULL);
CREATE VIEW shop_view AS SELECT name, amount FROM customers JOIN orders USING (customer_id);
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("honest") / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(TABLES)
    return path


@pytest.fixture(scope="module")
def plain(database: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": "1"})
    connection.execute(f"SET TimeZone = 'UTC'; ATTACH '{database}' AS db (READ_ONLY); USE db")
    return connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(database: Path) -> AsyncIterator[SandboxPool]:
    async with SandboxPool({"shop": database}, SandboxLimits(children=1)) as pool:
        yield pool


async def table(pool: SandboxPool, sql: str) -> ResultTable:
    outcome, _ = await pool.run("shop", sql)
    assert isinstance(outcome, ResultTable), (sql, outcome)
    return outcome


def plainly(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[str], list[list[str]]]:
    """Names, types and cells without the sandbox, each cell as the engine casts it to text."""
    relation = connection.sql(sql)
    types = [str(kind) for kind in relation.types]
    texts = [f"'0x' || lower(hex(#{i}))" if kind == "BLOB" else f"#{i}::VARCHAR" for i, kind in enumerate(types, 1)]
    shown = relation.project(", ".join(f"coalesce({text}, 'NULL') AS c{i}" for i, text in enumerate(texts)))
    return relation.columns, types, [list(row) for row in shown.fetchall()]


async def test_there_are_honest_statements_of_every_kind() -> None:
    assert len(HONEST) > 200
    assert len({case["kind"] for case in HONEST}) > 25
    assert sum(case.get("rows") is not None for case in HONEST) > 150


@pytest.mark.parametrize("case", HONEST, ids=lambda case: ascii(f"{case['kind']}: {case['sql'][:50]}"))
async def test_an_honest_statement_gives_the_rows_that_a_plain_connection_gives(
    case: dict[str, Any], pool: SandboxPool, plain: duckdb.DuckDBPyConnection
) -> None:
    outcome = await table(pool, case["sql"])
    names, types, rows = plainly(plain, case["sql"])
    assert not outcome.truncated
    assert (list(outcome.columns), list(outcome.types)) == (names, types)
    assert outcome.facts.volatile == (case["kind"] in ("volatile", "sampling"))
    if not outcome.facts.volatile:
        assert [[cell_text(cell) for cell in row] for row in outcome.rows] == rows
    if case.get("rows") is not None:
        assert outcome.rows == case["rows"]


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("EXPLAIN SELECT 1", "EXPLAIN is not allowed"),
        ("explain analyze FROM orders", "EXPLAIN is not allowed"),
        ("SUMMARIZE orders", "DESCRIBE"),
        ("PIVOT orders ON status IN (SELECT 'paid') USING count(*)", "IN (...)"),
        ("PIVOT orders ON " + "status, " * 20 + "day", "IN (...)"),
        ("SELECT 1; SELECT 2", "exactly one statement, not 2"),
        ("PIVOT orders ON status; PIVOT orders ON status", "exactly one statement, not 2"),
        ("SELECT getenv('HOME')", "the function getenv is not allowed"),
        ("SELECT name.getenv() FROM customers", "the function getenv is not allowed"),
        ("SELECT pg_catalog.upper('x')", "without a schema"),
        ("SELECT * FROM 'orders.csv'", "only the tables of this database"),
        ("SET threads = 2", "only SELECT statements"),
        ("/*" * 9_999, "a run of more than 32"),
        ("SELECT " + "+" * 9_000 + "1", "a run of more than 32"),
    ],
)
async def test_a_refusal_says_what_is_refused_and_what_to_send(sql: str, part: str, pool: SandboxPool) -> None:
    outcome, _ = await pool.run("shop", sql)
    assert isinstance(outcome, Refused)
    assert part in outcome.message


async def test_a_method_call_reads_its_column_and_is_the_same_query_as_a_call(pool: SandboxPool) -> None:
    method = (await table(pool, "SELECT name.upper() FROM customers ORDER BY 1")).facts
    call = (await table(pool, "SELECT upper(name) FROM customers ORDER BY 1")).facts
    assert (method.tree, method.skeleton, method.from_data) == (call.tree, call.skeleton, True)
    assert method.columns == (("customers", "name"),)


async def test_a_pivot_leaves_nothing_behind_and_has_the_same_names_each_time(pool: SandboxPool) -> None:
    sql = "SELECT (SELECT count(*) FROM (PIVOT orders ON status USING sum(amount)))"
    first = await table(pool, sql)
    pool.cache.put(("shop", sql), first, 10**9)
    again = await table(pool, f"{sql} ")
    assert first == again
    assert "__pivot_enum_" not in first.model_dump_json()
    assert (await table(pool, "SELECT 1")).rows == [[1]]


async def test_a_value_that_an_unpivot_spells_out_counts_as_brought_along(pool: SandboxPool) -> None:
    facts = (await table(pool, 'FROM (UNPIVOT (SELECT order_id AS "Oslo" FROM orders) ON "Oslo")')).facts
    assert "Oslo" in facts.literals


async def test_a_column_shown_as_text_keeps_the_order_of_the_rows(pool: SandboxPool) -> None:
    outcome = await table(pool, "SELECT to_days(i::INT) FROM range(5000) r(i) ORDER BY i DESC")
    assert outcome.rows == [["1 day" if i == 1 else f"{i} days" if i else "00:00:00"] for i in range(4999, -1, -1)]


async def test_columns_of_one_name_stay_apart_when_one_is_shown_as_text(pool: SandboxPool) -> None:
    outcome = await table(pool, "SELECT 1 AS a, TIME '10:00' AS a, 2 AS a")
    assert (outcome.columns, outcome.rows) == (("a", "a", "a"), [[1, "10:00:00", 2]])


async def test_a_base_table_under_the_name_of_a_recursive_cte_counts_as_read(pool: SandboxPool) -> None:
    sql = "WITH RECURSIVE orders AS (SELECT order_id FROM orders UNION SELECT 1 FROM orders) SELECT * FROM orders"
    assert (await table(pool, sql)).facts.tables == ("orders",)


async def test_a_table_behind_limit_counts_as_read_and_its_constants_do_not(pool: SandboxPool) -> None:
    facts = (await table(pool, "SELECT name FROM customers LIMIT (SELECT count(*) - 5 FROM orders)")).facts
    assert (facts.tables, facts.literals) == (("customers", "orders"), ())
