"""What a task does to its output is read from its syntax tree, and its increment from what production changed."""

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.etl.importing import open_pins
from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, PinnedTable
from services.grader.etl.increment import mode_of, outputs_of, parse, reads_of, scope_of
from services.grader.etl.pinned import relation
from tests.etl_world import make_production, write_job

OUT = PinnedTable(name="out", kind="parquet", files=(), columns=())
JOB = EtlJob(
    job_id="1", task_key="t", question="", statements=(), output="out", mode="insert", output_columns=(), sources=(),
    before=OUT, after=OUT,
)  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "mode"),
    [
        ("CREATE OR REPLACE TABLE s.out AS SELECT 1 AS a", "create"),
        ("CREATE TABLE s.out (a INT); INSERT INTO s.out SELECT 1", "create"),
        ("CREATE TABLE IF NOT EXISTS s.out (a INT); INSERT INTO s.out SELECT 1", "insert"),
        ("WITH q AS (SELECT 1) INSERT INTO s.out SELECT * FROM q", "insert"),
        ("INSERT OVERWRITE s.out PARTITION (day) SELECT 1, 2", "overwrite"),
        ("INSERT INTO S.Out REPLACE WHERE day = 1 SELECT 1", "overwrite"),
        ("DELETE FROM s.out WHERE day = 1; INSERT INTO s.out SELECT 1", "overwrite"),
        ("TRUNCATE TABLE s.out; INSERT INTO s.out SELECT 1", "overwrite"),
        ("MERGE INTO s.out t USING x ON t.a = x.a WHEN MATCHED THEN DELETE", "merge"),
        ("UPDATE s.out SET a = 1", "merge"),
    ],
)
def test_the_mode_is_read_from_the_tree(sql: str, mode: str) -> None:
    assert mode_of(parse(sql, "databricks"), "s.out") == mode
    with pytest.raises(BadInput, match=r"no statement writes s\.other; they write s\.out"):
        mode_of(parse(sql, "databricks"), "s.other")


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("WITH orders AS (SELECT * FROM orders), b AS (SELECT * FROM orders) SELECT * FROM b", ("orders",)),
        ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM a, b, c", ("c",)),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r", ()),
        ("SELECT * FROM a WHERE x IN (WITH b AS (SELECT 1) SELECT * FROM b JOIN d.b ON true)", ("a", "d.b")),
        ("INSERT INTO out SELECT * FROM out, a", ("a", "out")),
        ("CREATE TEMP TABLE t AS FROM a; INSERT INTO out FROM t", ("a",)),
        ("INSERT INTO out FROM t; CREATE TEMP TABLE t AS FROM a", ("a", "t")),
        ("SELECT * FROM range(3), unnest([1]), 'file.parquet'", ("file.parquet",)),
        ("MERGE INTO out USING (FROM a) b ON true WHEN MATCHED THEN DELETE", ("a",)),
    ],
)
def test_what_is_read_is_told_from_ctes_and_temporary_tables(sql: str, reads: tuple[str, ...]) -> None:
    assert reads_of(parse(sql, "duckdb")) == reads


def test_temporary_tables_are_no_outputs() -> None:
    sql = (
        "CREATE TEMP TABLE t AS SELECT 1; CREATE VIEW v AS SELECT 1; INSERT INTO b SELECT 1; CREATE TABLE a AS SELECT 1"
    )
    assert outputs_of(parse(sql, "duckdb")) == ("b", "a")


@given(st.lists(st.sampled_from([None, "x", "y", "z"]), min_size=1, max_size=8))
def test_every_row_is_inside_the_scope_or_outside_and_never_both(days: list[str | None]) -> None:
    touched = ("\"day\" IS NOT DISTINCT FROM CAST('x' AS VARCHAR)", '"day" IS NULL')
    scope = scope_of(JOB.model_copy(update={"touched": touched}))
    rows = ", ".join("(NULL)" if day is None else f"('{day}')" for day in days)
    where = f"SELECT count(*) FILTER ({scope.inside}), count(*) FILTER ({scope.outside}) FROM (VALUES {rows}) t(day)"
    found = duckdb.sql(where).fetchone()
    inside = sum(day in (None, "x") for day in days)
    assert found == (inside, len(days) - inside)


def test_the_scope_is_productions_and_outside_of_it_production_changed_nothing(tmp_path: Path) -> None:
    job = open_pins(write_job(make_production(tmp_path))).job
    scope = scope_of(job)
    assert job.before is not None
    assert scope.outside is not None
    before, after = (
        duckdb.sql(f"SELECT * FROM ({relation(t)}) WHERE {scope.outside}") for t in (job.before, job.after)
    )
    assert before.fetchall() == after.fetchall() != []
    assert scope_of(job.model_copy(update={"touched": ()})).outside is None
