"""Every type of the engine leaves the sandbox exactly, as an analyst would read it, and whole or marked as cut."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.cells import cell_number, cell_text
from services.contracts.statements import Cell, LimitHit, ResultTable, SqlError
from services.env_actor.render import CELL_CHARACTERS, ROWS_SHOWN, csv_field, result_text
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = SandboxLimits(children=1, max_rows=50, max_bytes=20_000)
TYPES: list[tuple[str, str, Cell]] = [
    ("true", "BOOLEAN", True),
    ("(-128)::TINYINT", "TINYINT", -128),
    ("255::UTINYINT", "UTINYINT", 255),
    ("(-9223372036854775808)::BIGINT", "BIGINT", -(2**63)),
    ("18446744073709551615::UBIGINT", "UBIGINT", 2**64 - 1),
    ("170141183460469231731687303715884105727::HUGEINT", "HUGEINT", 2**127 - 1),
    ("340282366920938463463374607431768211455::UHUGEINT", "UHUGEINT", 2**128 - 1),
    (f"'{10**60}'::BIGNUM", "BIGNUM", {"decimal": str(10**60)}),
    ("1.50::DECIMAL(10, 2)", "DECIMAL(10,2)", {"decimal": "1.50"}),
    ("-0.001", "DECIMAL(4,3)", {"decimal": "-0.001"}),
    (f"{'9' * 28}.{'9' * 10}::DECIMAL(38, 10)", "DECIMAL(38,10)", {"decimal": f"{'9' * 28}.{'9' * 10}"}),
    ("0.1::DOUBLE", "DOUBLE", 0.1),
    ("5e-324::DOUBLE", "DOUBLE", 5e-324),
    ("'-0.0'::DOUBLE", "DOUBLE", -0.0),
    ("'nan'::DOUBLE", "DOUBLE", {"float": "nan"}),
    ("'-inf'::DOUBLE", "DOUBLE", {"float": "-inf"}),
    ("0.1::FLOAT", "FLOAT", 0.1),
    ("16777217::FLOAT", "FLOAT", 16777216.0),
    ("3.4028235e38::FLOAT", "FLOAT", 3.4028235e38),
    ("'inf'::FLOAT", "FLOAT", {"float": "inf"}),
    ("[0.1::FLOAT, NULL, 'nan'::FLOAT]", "FLOAT[]", [0.1, None, {"float": "nan"}]),
    ("NULL", "INTEGER", None),
    ("''", "VARCHAR", ""),
    ("'NULL'", "VARCHAR", "NULL"),
    ("'日本 😀 e\u0301'", "VARCHAR", "日本 😀 e\u0301"),
    ("'a' || chr(10) || chr(0) || 'b'", "VARCHAR", "a\n\x00b"),
    ("""'{"a": 1}'::JSON""", "JSON", '{"a": 1}'),
    ("['[1]'::JSON, NULL]", "JSON[]", "[[1], NULL]"),
    ("'\\x00\\xFF'::BLOB", "BLOB", {"blob": "00ff"}),
    ("['a'::BLOB]", "BLOB[]", [{"blob": "61"}]),
    ("'101'::BIT", "BIT", "101"),
    ("'b'::ENUM('a', 'b')", "ENUM('a', 'b')", "b"),
    ("['it''s'::ENUM('it''s', '[]')]", "ENUM('it''s', '[]')[]", ["it's"]),
    ("UUID '00000000-0000-0000-0000-00000000000f'", "UUID", {"uuid": "00000000-0000-0000-0000-00000000000f"}),
    ("DATE '2024-01-31'", "DATE", {"date": "2024-01-31"}),
    ("'0044-03-15 (BC)'::DATE", "DATE", {"date": "0044-03-15 (BC)"}),
    ("'10000-01-01'::DATE", "DATE", {"date": "10000-01-01"}),
    ("'infinity'::DATE", "DATE", {"date": "infinity"}),
    ("'-infinity'::DATE", "DATE", {"date": "-infinity"}),
    ("DATE '9999-12-31'", "DATE", {"date": "9999-12-31"}),
    ("DATE '0001-01-01'", "DATE", {"date": "0001-01-01"}),
    ("[DATE '2024-01-31', 'infinity', NULL]", "DATE[]", [{"date": "2024-01-31"}, {"date": "infinity"}, None]),
    ("[[DATE '2024-01-31'], NULL]", "DATE[][]", [[{"date": "2024-01-31"}], None]),
    ("TIMESTAMP '2024-01-31 10:20:30.5'", "TIMESTAMP", {"timestamp": "2024-01-31 10:20:30.5"}),
    ("'290000-01-01'::TIMESTAMP", "TIMESTAMP", {"timestamp": "290000-01-01 00:00:00"}),
    ("'infinity'::TIMESTAMP", "TIMESTAMP", {"timestamp": "infinity"}),
    ("'9999-12-31 23:59:59.999999'::TIMESTAMP", "TIMESTAMP", {"timestamp": "9999-12-31 23:59:59.999999"}),
    ("'2024-01-31 10:20:30'::TIMESTAMP_S", "TIMESTAMP_S", {"timestamp": "2024-01-31 10:20:30"}),
    ("'2024-01-31 10:20:30.12'::TIMESTAMP_MS", "TIMESTAMP_MS", {"timestamp": "2024-01-31 10:20:30.12"}),
    ("['-infinity'::TIMESTAMP_S]", "TIMESTAMP_S[]", [{"timestamp": "-infinity"}]),
    ("TIMESTAMP_NS '2024-01-31 10:20:30.123456789'", "TIMESTAMP_NS", "2024-01-31 10:20:30.123456789"),
    ("TIMESTAMPTZ '2024-01-31 12:00:00+02'", "TIMESTAMP WITH TIME ZONE", "2024-01-31 10:00:00+00"),
    ("[TIMESTAMPTZ '2024-01-31 12:00:00+02']", "TIMESTAMP WITH TIME ZONE[]", ["2024-01-31 10:00:00+00"]),
    ("TIME '10:20:30'", "TIME", "10:20:30"),
    ("TIME '10:20:30.25'", "TIME", "10:20:30.25"),
    ("TIME '24:00:00'", "TIME", "24:00:00"),
    ("TIMETZ '10:20:30+05:30'", "TIME WITH TIME ZONE", "10:20:30+05:30"),
    ("TIME_NS '10:20:30.123456789'", "TIME_NS", "10:20:30.123456789"),
    ("INTERVAL '1 month 2 days'", "INTERVAL", "1 month 2 days"),
    ("[INTERVAL 36 DAY]::INTERVAL[1]", "INTERVAL[1]", ["36 days"]),
    ("[1, NULL, 3]", "INTEGER[]", [1, None, 3]),
    ("[]::VARCHAR[]", "VARCHAR[]", []),
    ("[1.5, 2.5]", "DECIMAL(2,1)[]", [{"decimal": "1.5"}, {"decimal": "2.5"}]),
    ("[[1, 2], NULL]::INTEGER[2][]", "INTEGER[2][]", [[1, 2], None]),
    ("{'a': 1, 'b': 'x'}", "STRUCT(a INTEGER, b VARCHAR)", "{'a': 1, 'b': x}"),
    ("row(1, NULL)", "STRUCT(INTEGER, INTEGER)", "(1, NULL)"),
    ("[{'d': DATE 'infinity'}]", "STRUCT(d DATE)[]", "[{'d': infinity}]"),
    ("MAP {'k': [1, NULL]}", "MAP(VARCHAR, INTEGER[])", "{k=[1, NULL]}"),
    ("union_value(a := 1)", "UNION(a INTEGER)", "1"),
]

STORED = [row for row in TYPES if not row[0].startswith("row(")]
"""A table cannot have a struct without names."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("types") / "types.duckdb"
    columns = ", ".join(f"{expression} AS c{at}" for at, (expression, _, _) in enumerate(STORED))
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE TABLE every AS SELECT {columns}")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(database: Path) -> AsyncIterator[SandboxPool]:
    async with SandboxPool({"types": database}, LIMITS) as pool:
        yield pool


async def table(pool: SandboxPool, sql: str) -> ResultTable:
    outcome, _ = await pool.run("types", sql)
    assert isinstance(outcome, ResultTable), (sql, outcome)
    return outcome


def same(cell: object, expected: object) -> bool:
    """Equality that tells -0.0 from 0.0 and 1 from True."""
    return json.dumps(cell) == json.dumps(expected)


@pytest.mark.parametrize(("expression", "kind", "cell"), TYPES)
async def test_a_value_of_every_type_has_a_form_that_json_can_carry(
    expression: str, kind: str, cell: Cell, pool: SandboxPool
) -> None:
    outcome = await table(pool, f"SELECT {expression} AS v")
    assert outcome.types == (kind,)
    assert same(outcome.rows, [[cell]])
    again = ResultTable.model_validate_json(outcome.model_dump_json())
    assert same(again.model_dump(mode="json"), outcome.model_dump(mode="json"))


async def test_a_stored_column_gives_what_its_expression_gave(pool: SandboxPool) -> None:
    outcome = await table(pool, "FROM every")
    assert same(outcome.rows, [[cell for _, _, cell in STORED]])
    assert outcome.types == tuple(kind for _, kind, _ in STORED)


async def test_a_cell_reads_as_the_engine_s_own_text(pool: SandboxPool) -> None:
    shown = [cell_text(cell) for cell in (await table(pool, "FROM every")).rows[0]]
    written = (await table(pool, "SELECT COLUMNS(*)::VARCHAR FROM every")).rows[0]
    blobs = {at for at, (_, kind, _) in enumerate(STORED) if kind.startswith("BLOB")}
    assert [text for at, text in enumerate(shown) if at not in blobs] == [
        cell_text(text) for at, text in enumerate(written) if at not in blobs
    ]


async def test_numbers_stay_numbers_whatever_their_size(pool: SandboxPool) -> None:
    cells = (await table(pool, f"SELECT 1::HUGEINT << 100, '{10**60}'::BIGNUM, 0.1::FLOAT, 1.50, true, '1'")).rows[0]
    numbers = [cell_number(cell) for cell in cells]
    assert numbers == [Decimal(2**100), Decimal(10**60), Decimal("0.1"), Decimal("1.50"), None, None]


async def test_infinite_and_ordinary_dates_stay_apart_in_one_column(pool: SandboxPool) -> None:
    sql = "SELECT unnest(['infinity', '9999-12-31', '2024-01-31', NULL, '-infinity', '0001-01-01']::DATE[]), 1.5"
    days = [row[0] for row in (await table(pool, sql)).rows]
    assert days == [
        {"date": day} if day else None
        for day in ("infinity", "9999-12-31", "2024-01-31", None, "-infinity", "0001-01-01")
    ]


@pytest.mark.parametrize(
    ("cell", "field"),
    [
        (None, "NULL"),
        ("", '""'),
        ("NULL", '"NULL"'),
        (" x", '" x"'),
        ("a,b", '"a,b"'),
        ('say "x"', '"say ""x"""'),
        (["a, b", "c", "", None, "NULL"], "\"['a, b', c, '', NULL, 'NULL']\""),
        ({"decimal": "1.50"}, "1.50"),
        ({"date": "infinity"}, "infinity"),
        ({"blob": "00ff"}, "0x00ff"),
        (-0.0, "-0.0"),
        (10**40, "1" + "0" * 40),
    ],
)
async def test_a_cell_is_shown_so_that_it_cannot_be_taken_for_another(cell: Cell, field: str) -> None:
    assert csv_field(cell) == field


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")) | st.none()))
@settings(deadline=None, max_examples=150)
async def test_a_list_of_any_texts_reads_as_the_engine_writes_it(items: list[str | None]) -> None:
    row = duckdb.execute("SELECT CAST($1::VARCHAR[] AS VARCHAR)", [items]).fetchone()
    assert row is not None
    assert cell_text(list(items)) == row[0]


@pytest.mark.parametrize(
    ("sql", "rows", "cut"),
    [
        ("FROM range(50)", 50, False),
        ("FROM range(51)", 50, True),
        ("SELECT repeat('x', 1000) FROM range(15)", 15, False),
        ("SELECT repeat('x', 1000) FROM range(30)", 19, True),
        ("SELECT to_days(i::INT) FROM range(51) r(i)", 50, True),
        ("SELECT repeat('é', 1000) FROM range(5)", 3, True),
    ],
)
async def test_a_result_is_whole_or_says_that_it_is_cut(sql: str, rows: int, cut: bool, pool: SandboxPool) -> None:
    outcome = await table(pool, sql)
    assert (len(outcome.rows), outcome.truncated) == (rows, cut)
    assert len(json.dumps(outcome.rows)) <= LIMITS.max_bytes
    note = result_text(outcome).splitlines()[-1]
    if cut:
        assert note == f"(first {min(rows, ROWS_SHOWN)} of more than {rows} rows)"
    elif rows > ROWS_SHOWN:
        assert note == f"(first {ROWS_SHOWN} of {rows} rows)"


async def test_a_long_text_is_shown_in_part_with_its_length_and_kept_whole(pool: SandboxPool) -> None:
    outcome = await table(pool, "SELECT repeat('ab', 4000) AS text")
    assert outcome.rows == [["ab" * 4000]]
    assert result_text(outcome) == f"text\n{'ab' * (CELL_CHARACTERS // 2)}… (8000 characters)"


async def test_one_row_that_is_too_large_is_a_limit_and_no_result(pool: SandboxPool) -> None:
    outcome, _ = await pool.run("types", "SELECT repeat('x', 30000)")
    assert isinstance(outcome, LimitHit)
    assert outcome.reason == "result_size"


@pytest.mark.parametrize(
    "call",
    [
        "json_structure({deep})",
        "json_contains({deep}, '1')",
        "json_merge_patch('1', {deep})",
        "main.json_structure({deep})",
        "json_group_structure({deep}::JSON)",
        "json_merge_patch('1', '2', {deep})",
        "json_contains('1', {deep})",
    ],
)
async def test_deep_json_is_an_error_and_not_the_end_of_a_child(call: str, pool: SandboxPool) -> None:
    before = pool.respawns
    deep = "(repeat('{\"a\":', 100000) || '1' || repeat('}', 100000))"
    outcome, _ = await pool.run("types", f"SELECT {call.format(deep=deep)}")
    assert not isinstance(outcome, ResultTable | LimitHit)
    assert "brackets" in outcome.message or "without a schema" in outcome.message
    assert pool.respawns == before


@pytest.mark.parametrize(
    "shape", ["repeat('[', 90000)", "'" + "[" * 9000 + "'", "'[1]'::JSON || ''", "(SELECT '[1]')", "lower('[1]')"]
)
async def test_a_json_shape_has_to_stand_in_the_statement(shape: str, pool: SandboxPool) -> None:
    outcome, _ = await pool.run("types", f"SELECT json_transform('[1]', {shape})")
    assert outcome.kind == "refused"
    assert "second argument" in outcome.message


async def test_a_value_that_python_cannot_hold_is_an_error_of_the_statement(pool: SandboxPool) -> None:
    outcome, _ = await pool.run("types", f"SELECT {'[' * 110}1{']' * 110}")
    assert isinstance(outcome, SqlError)
