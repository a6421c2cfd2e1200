"""Databricks SQL gives the same values on DuckDB, each change is listed, and what cannot be had is refused."""

from typing import Any

import duckdb
import pytest

from cluster.etl.statements import read_statements
from cluster.etl.translate import Translation, translate
from cluster.etl.writing import OutputTable
from services.contracts.errors import BadInput

OUT = OutputTable(
    name="s.out", columns=("id", "v", "day"), keys=("day",), touched=("\"day\" IS NOT DISTINCT FROM '2'",)
)


def translated(sql: str, output: OutputTable = OUT) -> Translation:
    return translate(read_statements((sql,), "databricks").trees, output)


def left(sql: str, *rows: str) -> list[Any]:
    """The output's rows after a run that finds rows of the days 1 and 2."""
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA s; CREATE TABLE s.out (id INT, v INT, day VARCHAR)")
        connection.execute("INSERT INTO s.out VALUES (1, 10, '1'), (2, 20, '2'), (3, 30, '2')")
        connection.execute(
            "CREATE TABLE x (day VARCHAR, v INT, id INT); INSERT INTO x VALUES ('2', 21, 2), ('2', 40, 4)"
        )
        for statement in translated(sql).statements:
            connection.execute(statement)
        return connection.execute("FROM s.out ORDER BY ALL").fetchall()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 / 0", None),
        ("7 / 2", 3.5),
        ("7 div 2", 3),
        ("concat('a', NULL)", None),
        ("dayofweek(DATE '2026-03-01')", 1),
        ("dayofweek(DATE '2026-03-07')", 7),
        ("date_format(DATE '2026-03-01', 'yyyy/MM/dd')", "2026/03/01"),
        ("datediff(DATE '2026-03-05', DATE '2026-03-01')", 4),
        ("trunc(DATE '2026-03-31', 'MM')", "2026-03-01"),
        ("date_trunc('YYYY', DATE '2026-03-31')", "2026-01-01 00:00:00"),
        ("substring('hello', 0, 2)", "he"),
        ("substr('hello', 2, 2)", "el"),
        ("'a_b' LIKE 'a\\\\_b'", True),
        ("'axb' LIKE 'a\\\\_b'", False),
        ("isnull(NULL)", True),
        ("isnotnull(NULL)", False),
        ("nvl(NULL, 3)", 3),
        ("array(7, 8)[0]", 7),
        ("element_at(array(7, 8), 1)", 7),
        ("regexp_extract('a1b2', '([a-z])([0-9])')", "a"),
        ("NULL <=> NULL", True),
        ("size(split('a,b', ','))", 2),
        ("'it\\'s'", "it's"),
        ('"text"', "text"),
    ],
)
def test_an_expression_has_the_value_that_it_has_there(expression: str, value: object) -> None:
    made = translated(f"SELECT {expression} AS v")
    found = duckdb.sql(
        f"SELECT CAST(v AS {'VARCHAR' if isinstance(value, str) else 'DOUBLE'}) FROM ({made.statements[0]})"
    )
    row = found.fetchone()
    assert row is not None
    assert row[0] == (value if isinstance(value, str) or value is None else float(value))  # type: ignore[arg-type]


def test_nulls_sort_as_there() -> None:
    made = translated("SELECT v FROM (VALUES (1), (NULL), (2)) t(v) ORDER BY v")
    assert duckdb.sql(made.statements[0]).fetchall() == [(None,), (1,), (2,)]
    assert "v is written v NULLS FIRST" in made.changes


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (
            "INSERT OVERWRITE s.out PARTITION (day = '2') SELECT id, v FROM x",
            [(1, 10, "1"), (2, 21, "2"), (4, 40, "2")],
        ),
        ("INSERT OVERWRITE s.out PARTITION (day) SELECT id, v, day FROM x", [(1, 10, "1"), (2, 21, "2"), (4, 40, "2")]),
        ("INSERT OVERWRITE s.out SELECT id, v, day FROM x", [(2, 21, "2"), (4, 40, "2")]),
        (
            "SET spark.sql.sources.partitionOverwriteMode = dynamic; INSERT OVERWRITE s.out SELECT id, v, day FROM x",
            [(1, 10, "1"), (2, 21, "2"), (4, 40, "2")],
        ),
        (
            "INSERT INTO s.out REPLACE WHERE id > 2 SELECT id, v, day FROM x WHERE id > 2",
            [(1, 10, "1"), (2, 20, "2"), (4, 40, "2")],
        ),
        ("INSERT OVERWRITE s.out SELECT id, v + 1, day FROM s.out WHERE id = 1", [(1, 11, "1")]),
        (
            "CREATE TEMP VIEW w AS SELECT * FROM s.out; INSERT OVERWRITE s.out SELECT id, v, '3' FROM w WHERE id = 1",
            [(1, 10, "3")],
        ),
        (
            "MERGE INTO s.out t USING x ON t.id = x.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
            [(1, 10, "1"), (2, 21, "2"), (3, 30, "2"), (4, 40, "2")],
        ),
        (
            "MERGE INTO s.out t USING x ON t.id = x.id WHEN MATCHED THEN UPDATE SET t.v = x.v "
            "WHEN NOT MATCHED BY SOURCE THEN DELETE",
            [(2, 21, "2")],
        ),
        (
            "INSERT INTO s.out BY NAME SELECT day, id FROM x WHERE id = 4",
            [(1, 10, "1"), (2, 20, "2"), (3, 30, "2"), (4, None, "2")],
        ),
    ],
)
def test_a_write_leaves_the_rows_that_it_leaves_there(sql: str, rows: list[tuple[Any, ...]]) -> None:
    assert left(sql) == rows


def test_every_change_is_listed() -> None:
    made = translated(
        "USE CATALOG main; USE s; OPTIMIZE out; CREATE OR REPLACE TABLE out USING DELTA PARTITIONED BY (day) AS "
        "SELECT /*+ BROADCAST(x) */ dayofweek(d) AS id, a / b AS v, max_by(day, d) AS day FROM x GROUP BY ALL SORT BY v"
    )
    read = read_statements(("USE CATALOG main; USE s; CREATE TABLE out AS SELECT 1",), "databricks")
    assert read.changes[-1] == "main.s.out is called s.out"
    assert made.statements[0].startswith("CREATE OR REPLACE TABLE s.out AS SELECT (DAYOFWEEK(")
    for change in (
        "OPTIMIZE out is left out: it changes no rows",
        "the hint /*+ BROADCAST(x) */ is left out",
        "SORT BY v is left out: it orders no result",
        "USING DELTA is left out of CREATE TABLE",
        "PARTITIONED BY (day) is left out of CREATE TABLE",
        "dayofweek counts from 1 (Sunday): 1 is added",
        "a division by zero gives NULL: NULLIF(…, 0) is added",
        "MAX_BY(day, d) is written ARG_MAX(day, d)",
    ):
        assert change in made.changes


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT xxhash64(a) FROM x", "XXHASH64.* gives other values on DuckDB"),
        ("SELECT hash(a) FROM x", "it hashes otherwise"),
        ("SELECT percentile_approx(a, 0.5) FROM x", "it approximates otherwise"),
        ("SELECT approx_count_distinct(a) FROM x", "it approximates otherwise"),
        ("SELECT * FROM x VERSION AS OF 3", "reads a version of its own"),
        ("SELECT * FROM x@v3", "v3"),
        ("SELECT * FROM delta.`/mnt/x`", "reads a path"),
        ("SELECT :day", ":day has no value"),
        ("COPY INTO s.out FROM '/x'", "is no query and writes no rows"),
        ("SET spark.sql.session.timeZone = CET", "is no query and writes no rows"),
        ("DROP TABLE s.out", "is no query and writes no rows"),
        ("INSERT OVERWRITE s.other SELECT 1", "is not of the output s.out"),
        ("SELECT FROM WHERE", "cannot be read as databricks"),
    ],
)
def test_what_cannot_be_had_is_refused(sql: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        translated(sql)


def test_a_partition_overwrite_that_production_left_empty_handed_is_refused() -> None:
    nothing = OUT.model_copy(update={"touched": ()})
    with pytest.raises(BadInput, match="changed no partition"):
        translated("INSERT OVERWRITE s.out PARTITION (day) SELECT id, v, day FROM x", nothing)


def test_duckdb_sql_stays_as_it_was_written() -> None:
    read = read_statements(
        ("-- the day's rows\nINSERT INTO s.out\n  FROM x;\nCREATE TEMP TABLE t AS FROM x",), "duckdb"
    )
    assert [statement.text for statement in read.statements] == [
        "-- the day's rows\nINSERT INTO s.out\n  FROM x",
        "CREATE TEMP TABLE t AS FROM x",
    ]
    for sql in ("COPY x TO 'f.parquet'", "ATTACH 'a.db'", "SET threads = 8", "CALL x()", "PIVOT x ON y", ""):
        with pytest.raises(BadInput):
            read_statements((sql,), "duckdb")


def test_two_tables_that_would_share_a_name_are_refused() -> None:
    with pytest.raises(BadInput, match=r"two tables would both be called s\.x"):
        read_statements(("SELECT * FROM a.s.x JOIN b.s.x USING (id)",), "databricks")
