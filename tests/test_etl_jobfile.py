"""A JOB.yaml that a person writes: short, checked key by key, and its errors say what to change."""

import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.etl.importing import open_pins
from cluster.etl.jobfile import read_job_file
from cluster.etl.pinning import Pins
from services.contracts.errors import BadInput
from services.grader.etl.pinned import relation
from tests.etl_world import make_production, write_job

TWO_FILES = """
job_id: mine
task_key: totals
sql: totals.sql
sources:
  orders: orders.parquet
  shops: shops.parquet
output: {name: totals, path: totals.parquet}
"""


def make_own(
    folder: Path,
    sql: str = "CREATE TABLE totals AS SELECT name, sum(n) AS n FROM orders JOIN shops USING (id) GROUP BY name",
) -> Path:
    pq.write_table(pa.table({"id": [1, 2, 1], "n": [5, 6, 7]}), folder / "orders.parquet")
    pq.write_table(pa.table({"id": [1, 2], "name": ["a", "b"]}), folder / "shops.parquet")
    pq.write_table(pa.table({"name": ["a", "b"], "n": [12.0, 6.0]}), folder / "totals.parquet")
    (folder / "totals.sql").write_text(sql)
    (folder / "job.yaml").write_text(TWO_FILES)
    return folder / "job.yaml"


def test_two_parquet_files_and_a_sql_file_are_a_job(tmp_path: Path) -> None:
    job = open_pins(make_own(tmp_path)).job
    assert (job.mode, job.before, job.touched) == ("create", None, ())
    assert [table.name for table in job.sources] == ["orders", "shops"]
    assert "makes totals from orders, shops" in job.question
    assert job.changes == ("n HUGEINT is written as production's n DOUBLE",)
    casts = 'CAST("name" AS VARCHAR) AS "name", CAST("n" AS DOUBLE) AS "n"'
    query = (tmp_path / "totals.sql").read_text().partition(" AS ")[2]
    assert job.statements == (f'CREATE OR REPLACE TABLE "totals" AS SELECT {casts} FROM (\n{query}\n) AS made',)


def test_an_output_that_was_not_kept_is_made_by_the_original_for_the_graders_eyes(tmp_path: Path) -> None:
    path = make_own(tmp_path)
    path.write_text(TWO_FILES.replace(", path: totals.parquet", ""))
    with pytest.raises(BadInput, match=r"output\.path: the task makes totals: say where"):
        open_pins(path)
    job = open_pins(path, made=tmp_path / "made").job
    rows = duckdb.sql(f"FROM ({relation(job.after)}) ORDER BY ALL").fetchall()
    assert rows == [("a", Decimal(12)), ("b", Decimal(6))]
    assert job.changes[0].startswith("production's output was not given")
    assert [stat.S_IMODE(os.stat(p).st_mode) for p in (tmp_path / "made", job.after.files[0])] == [0o700, 0o600]
    assert open_pins(path, made=tmp_path / "made").job == job
    assert contents(open_pins(path, made=tmp_path / "again")) == contents(open_pins(path, made=tmp_path / "made"))
    pq.write_table(pa.table({"id": [1, 2], "name": ["a", "c"]}), tmp_path / "shops.parquet")
    assert open_pins(path, made=tmp_path / "made").job.after != job.after
    (tmp_path / "totals.sql").write_text("INSERT INTO totals SELECT name, id FROM shops")
    with pytest.raises(BadInput, match="the task adds rows to totals"):
        open_pins(path, made=tmp_path / "made")


def test_the_job_of_the_documents_is_a_job(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "etl.md").read_text()
    section = page.split("## Jobs, pins and contracts")[1]
    (tmp_path / "JOB.yaml").write_text(section.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "daily.sql").write_text("SELECT 1")
    task = read_job_file(tmp_path / "JOB.yaml")
    assert (task.output.version, task.output.before, len(task.history)) == (31, 30, 1)
    assert task.sources["sales.shops"].version == 12
    assert [len(clauses) for _, clauses in task.contract] == [1] * 5


def contents(pins: Pins) -> set[str]:
    return {file.sha256 for file in pins.files}


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE totals AS SELECT 1 AS a", "the task gives the columns a; production's totals has name, n"),
        ("CREATE TABLE totals AS SELECT 1 AS name, 2 AS n", "gives name as INTEGER; production's totals has VARCHAR"),
        ("CREATE TABLE totals AS SELECT nam FROM shops", "statement 1 does not run on DuckDB"),
        ("CREATE TABLE totals AS SELECT * FROM 'shops.parquet'", "the SQL reads shops.parquet, and no source"),
        ("CREATE TABLE totals AS SELECT * FROM read_parquet('shops.parquet')", "does not run on DuckDB"),
        ("CREATE TABLE totals AS SELECT 1; CREATE TABLE more AS SELECT 1", "writes more beside its output totals"),
        ("SELECT 1", "no statement writes the output totals; written are: no tables"),
        ("COPY shops TO 'x'", "neither reads nor writes a table"),
        ("CREATE TABLE totals AS SELECT * FROM shop", "no source has that name; did you mean shops"),
        ("", "the task has no SQL statement"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(tmp_path: Path, sql: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        open_pins(make_own(tmp_path, sql))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"souces": {}}, "unknown key souces; did you mean sources?"),
        ({"output": {"name": "sales.daily", "pth": "daily"}}, "unknown key output.pth; did you mean path?"),
        (
            {"contract": {"keys": [{"table": "t", "column": ["a"]}]}},
            "unknown key contract.keys.0.column; did you mean columns?",
        ),
        ({"contract": {"key": []}}, "unknown key contract.key; did you mean keys?"),
        ({"sources": {"sales.orders": {"path": "orders", "verison": 1}}}, "did you mean version?"),
        ({"dialect": "spark"}, "dialect: Input should be 'duckdb' or 'databricks'"),
        ({"sql": []}, "sql: "),
        ({"sql": "none.sql"}, "sql: cannot read"),
        ({"runs": "none.json"}, "cannot read the run history"),
    ],
)
def test_a_wrong_key_or_value_is_told_what_to_change(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = write_job(make_production(tmp_path), **changes)
    with pytest.raises(BadInput) as error:
        read_job_file(path)
    assert why in str(error.value)


def test_a_bare_time_keeps_its_zone_and_a_number_is_a_name(tmp_path: Path) -> None:
    path = write_job(make_production(tmp_path))
    path.write_text(path.read_text().replace("'2026-03-02T03:00:00+00:00'", "2026-03-02T05:00:00+02:00"))
    task = read_job_file(path)
    assert (task.job_id, task.started_at) == ("4711", "2026-03-02T05:00:00+02:00")
    assert open_pins(path).job.sources[0].version == 0
    path.write_text(path.read_text().replace("2026-03-02T05:00:00+02:00", "2026-03-02T03:00:00"))
    with pytest.raises(BadInput, match="has no time zone"):
        open_pins(path)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "job_id: 1"])
def test_what_is_no_job_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(BadInput):
        open_pins(tmp_path / "job.yaml")
    with pytest.raises(BadInput, match=r"expected a JOB.yaml"):
        open_pins(tmp_path / "job.txt")
