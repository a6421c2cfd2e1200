"""Honest analysis gets through the guard, and its rows are those that a plain connection gives."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytest_asyncio

from services.contracts.statements import ResultTable
from services.sandbox.engine import encode
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
CREATE VIEW shop_view AS SELECT name, amount FROM customers JOIN orders USING (customer_id);
"""
TEXT_TYPES = ("TIME", "INTERVAL", "MAP", "STRUCT")
"""Types whose name holds one of these come back as the engine's own text, but for TIMESTAMP itself."""


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


def plainly(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[str], list[list[Any]]]:
    """Names, types and rows without the sandbox."""
    relation = connection.sql(sql)
    names, types = relation.columns, [str(kind) for kind in relation.types]
    text = [kind != "TIMESTAMP" and any(part in kind for part in TEXT_TYPES) for kind in types]
    if any(text):
        picks = [f"CAST(#{i} AS VARCHAR) AS c{i}" if cast else f"#{i} AS c{i}" for i, cast in enumerate(text, 1)]
        relation = relation.project(", ".join(picks))
    return names, types, [[encode(cell) for cell in row] for row in relation.fetchall()]


@pytest.mark.parametrize("case", HONEST, ids=lambda case: ascii(case["sql"][:50]))
async def test_an_honest_statement_gives_the_rows_that_a_plain_connection_gives(
    case: dict[str, Any], pool: SandboxPool, plain: duckdb.DuckDBPyConnection
) -> None:
    outcome = await table(pool, case["sql"])
    names, types, rows = plainly(plain, case["sql"])
    assert not outcome.truncated
    assert (list(outcome.columns), list(outcome.types)) == (names, types)
    if case["rows"] is None:
        assert outcome.facts.volatile
    else:
        assert outcome.rows == case["rows"] == rows


@pytest.mark.parametrize(
    ("expression", "kind", "cell"),
    [
        ("1.50::DECIMAL(10, 2)", "DECIMAL(10,2)", {"decimal": "1.50"}),
        ("-0.001", "DECIMAL(4,3)", {"decimal": "-0.001"}),
        ("TIMESTAMP '2024-01-31 10:20:30.5'", "TIMESTAMP", {"timestamp": "2024-01-31 10:20:30.500000"}),
        ("TIMESTAMPTZ '2024-01-31 12:00:00+02'", "TIMESTAMP WITH TIME ZONE", "2024-01-31 10:00:00+00"),
        ("TIMESTAMP_NS '2024-01-31 10:20:30.123456789'", "TIMESTAMP_NS", "2024-01-31 10:20:30.123456789"),
        ("DATE '2024-01-31'", "DATE", {"date": "2024-01-31"}),
        ("'0044-03-15 (BC)'::DATE", "DATE", "0044-03-15 (BC)"),
        ("'290000-01-01'::TIMESTAMP", "TIMESTAMP", "290000-01-01 00:00:00"),
        ("TIME '10:20:30'", "TIME", "10:20:30"),
        ("INTERVAL '1 month 2 days'", "INTERVAL", "1 month 2 days"),
        ("[1, NULL, 3]", "INTEGER[]", [1, None, 3]),
        ("[]::VARCHAR[]", "VARCHAR[]", []),
        ("[1.5, 2.5]", "DECIMAL(2,1)[]", [{"decimal": "1.5"}, {"decimal": "2.5"}]),
        ("[[DATE '2024-01-31'], NULL]", "DATE[][]", [[{"date": "2024-01-31"}], None]),
        ("[1, 2]::INTEGER[2]", "INTEGER[2]", [1, 2]),
        ("{'a': 1, 'b': 'x'}", "STRUCT(a INTEGER, b VARCHAR)", "{'a': 1, 'b': x}"),
        ("MAP {'k': 1}", "MAP(VARCHAR, INTEGER)", "{k=1}"),
        ("'\\x00\\xFF'::BLOB", "BLOB", {"blob": "00ff"}),
        ("'b'::ENUM('a', 'b')", "ENUM('a', 'b')", "b"),
        (
            "UUID '00000000-0000-0000-0000-00000000000f'",
            "UUID",
            {"uuid": "00000000-0000-0000-0000-00000000000f"},
        ),
        ("170141183460469231731687303715884105727::HUGEINT", "HUGEINT", 2**127 - 1),
        ("340282366920938463463374607431768211455::UHUGEINT", "UHUGEINT", 2**128 - 1),
        ("'nan'::DOUBLE", "DOUBLE", {"float": "nan"}),
        ("'-inf'::DOUBLE", "DOUBLE", {"float": "-inf"}),
        ("'inf'::FLOAT", "FLOAT", {"float": "inf"}),
        ("['nan'::DOUBLE]", "DOUBLE[]", [{"float": "nan"}]),
        ("0.1::DOUBLE", "DOUBLE", 0.1),
        ("true", "BOOLEAN", True),
        ("NULL", "INTEGER", None),
        ("''", "VARCHAR", ""),
        ("'NULL'", "VARCHAR", "NULL"),
        ("'日本 😀 e\u0301'", "VARCHAR", "日本 😀 e\u0301"),
        ("'a' || chr(10) || chr(0) || 'b'", "VARCHAR", "a\n\x00b"),
        ("'101'::BIT", "BIT", "101"),
        ("union_value(a := 1)", "UNION(a INTEGER)", "1"),
        ("""'{"a": 1}'::JSON""", "JSON", '{"a": 1}'),
    ],
)
async def test_a_value_of_every_type_has_a_form_that_json_can_carry(
    expression: str, kind: str, cell: object, pool: SandboxPool
) -> None:
    outcome = await table(pool, f"SELECT {expression} AS v")
    assert (outcome.types, outcome.rows) == ((kind,), [[cell]])
    again = ResultTable.model_validate_json(outcome.model_dump_json())
    assert again == outcome


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
