"""A job comes out of a folder of exports: `jobs get`, notebook sources, `runs list` and a catalog."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from deltalake import write_deltalake

from cluster.etl.history import parse_runs
from cluster.etl.importing import open_pins
from cluster.etl.workspace import FolderWorkspace, Workspace
from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob
from services.grader.etl.pinned import create_view, declare, dotted, relation
from tests.etl_world import START, daily, make_production, minutes, set_times
from tests.workspace_conformance import Known, WorkspaceConformance

NOTEBOOK = """-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Totals of a day

-- COMMAND ----------

USE CATALOG main;
USE SCHEMA sales;

-- COMMAND ----------

CREATE TABLE IF NOT EXISTS daily (day STRING, shop STRING, total DECIMAL(38, 2)) USING DELTA PARTITIONED BY (day);

-- COMMAND ----------

INSERT OVERWRITE daily PARTITION (day = '${day}')
SELECT /*+ REPARTITION(8) */ shop, sum(amount) AS total FROM orders WHERE day = :day GROUP BY shop;

-- COMMAND ----------

OPTIMIZE daily
"""
MERGE = """
MERGE INTO main.sales.shops AS t
USING (SELECT shop, max_by(amount, id) AS last FROM main.sales.orders GROUP BY shop) AS s
ON t.shop = s.shop WHEN MATCHED THEN UPDATE SET t.last = s.last WHEN NOT MATCHED THEN INSERT *
"""
LAST = pa.decimal128(21, 2)


def task(key: str, **more: Any) -> dict[str, Any]:
    return {"task_key": key, "run_if": "ALL_SUCCESS", **more}


def run(start: int, state: str = "SUCCESS") -> dict[str, Any]:
    """A run as the list has it, milliseconds after the start of ours."""
    began = round(START.timestamp() * 1000) + start
    ended = {"life_cycle_state": "TERMINATED", "result_state": state}
    parts = [
        {"task_key": k, "start_time": began, "execution_duration": 300_000, "state": ended} for k in ("daily", "shops")
    ]
    return {
        "run_id": 1,
        "job_id": 4711,
        "start_time": began - 9000,
        "run_duration": 400_000,
        "tasks": parts,
        "state": ended,
    }


def shops(**last: int) -> pa.Table:
    return pa.table({"shop": list(last), "last": pa.array(list(last.values()), pa.int64()).cast(LAST)})


def make_workspace(root: Path) -> Path:
    make_production(root / "tables")
    write_deltalake(root / "tables" / "shops", shops(a=9))
    write_deltalake(root / "tables" / "shops", shops(a=50, b=250), mode="overwrite")
    set_times(root / "tables" / "shops", [minutes(-60), minutes(3)])
    for folder in ("jobs", "runs", "sources/etl"):
        (root / folder).mkdir(parents=True)
    tasks = [
        task("shops", sql_task={"file": {"path": "/etl/shops.sql", "source": "WORKSPACE"}, "warehouse_id": "w"}),
        task(
            "daily",
            depends_on=[{"task_key": "shops"}],
            notebook_task={"notebook_path": "/etl/daily", "base_parameters": {"day": "{{job.start_time.iso_date}}"}},
        ),
        task("train", spark_python_task={"python_file": "x.py"}),
    ]
    job = {
        "job_id": 4711,
        "creator_user_name": "x",
        "settings": {"name": "nightly", "format": "MULTI_TASK", "tasks": tasks},
    }
    (root / "jobs" / "4711.json").write_text(json.dumps(job))
    runs = {"runs": [run(0), run(-86_400_000), run(86_400_000, "FAILED")], "has_more": False}
    (root / "runs" / "4711.json").write_text(json.dumps(runs))
    (root / "sources" / "etl" / "daily.sql").write_text(NOTEBOOK)
    (root / "sources" / "etl" / "shops.sql").write_text(MERGE)
    keys = [{"table": "sales.orders", "columns": ["id"]}]
    catalog = {
        "tables": {f"main.sales.{name}": f"tables/{name}" for name in ("orders", "daily", "shops")},
        "contracts": {"daily": {"keys": keys}},
    }
    (root / "catalog.yaml").write_text(yaml.safe_dump(catalog))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_workspace(tmp_path)


class TestFolderWorkspace(WorkspaceConformance):
    @pytest.fixture
    def workspace(self, folder: Path) -> Workspace:
        return FolderWorkspace(folder)

    @pytest.fixture
    def known(self) -> Known:
        return Known("4711", "daily", {"day": "2026-03-01"})


def run_on_duckdb(job: EtlJob) -> list[tuple[Any, ...]]:
    """The output's rows after the statements have run over the pinned tables."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in job.sources:
            create_view(connection, table)
        if job.before is not None:
            declare(connection, job.output, f"CREATE TABLE {dotted(job.output)} AS {relation(job.before)}")
        for statement in job.statements:
            connection.execute(statement)
        return sorted(connection.execute(f"FROM {dotted(job.output)}").fetchall(), key=repr)


def after(job: EtlJob) -> list[tuple[Any, ...]]:
    return sorted(duckdb.sql(relation(job.after)).fetchall(), key=repr)


def test_a_notebook_task_with_a_partition_gives_what_production_gave(folder: Path) -> None:
    job = open_pins(folder / "jobs" / "4711.json", "daily", None, {"day": "2026-03-01"}).job
    assert (job.mode, job.output, job.history[-1].started_at) == ("overwrite", "sales.daily", START.isoformat())
    assert job.history[-1].duration_s == 300
    assert job.statements[0] == "DELETE FROM sales.daily WHERE day = '2026-03-01'"
    assert job.touched == ("\"day\" IS NOT DISTINCT FROM CAST('2026-03-01' AS VARCHAR)",)
    assert run_on_duckdb(job) == after(job)
    for change in (
        "the parameter day is '2026-03-01'",
        "main.sales.orders is called sales.orders",
        "CREATE TABLE IF NOT EXISTS sales.daily is left out",
        "OPTIMIZE daily is left out: it changes no rows",
        "the hint /*+ REPARTITION(8) */ is left out",
    ):
        assert change in job.changes


def test_a_merge_gives_what_production_gave(folder: Path) -> None:
    job = open_pins(folder / "jobs" / "4711.json", "shops").job
    assert (job.mode, job.touched) == ("merge", ())
    assert run_on_duckdb(job) == after(job) != []


def test_an_earlier_run_is_pinned_to_what_it_found(folder: Path) -> None:
    earlier = minutes(-1440).isoformat()
    with pytest.raises(BadInput, match=r"sales\.orders: at .* there was no version yet"):
        open_pins(folder / "jobs" / "4711.json", "daily", earlier, {"day": "2026-03-01"})


@pytest.mark.parametrize(
    ("key", "parameters", "why"),
    [
        ("dayly", {}, "job 4711 has no task dayly; did you mean daily"),
        (None, {}, "say which task of job 4711; it has shops, daily, train"),
        ("train", {}, "neither a notebook nor a SQL file"),
        ("daily", {}, "the parameter day is {{job.start_time.iso_date}}, which is known only in a run"),
    ],
)
def test_a_task_that_cannot_be_read_is_refused(
    folder: Path, key: str | None, parameters: dict[str, str], why: str
) -> None:
    with pytest.raises(BadInput, match=why.replace("{", r"\{")):
        open_pins(folder / "jobs" / "4711.json", key, None, parameters)


def test_a_table_that_the_catalog_does_not_have_is_named(folder: Path) -> None:
    path = folder / "catalog.yaml"
    path.write_text(path.read_text().replace("sales.orders: ", "sales.order: "))
    with pytest.raises(BadInput, match=r"no table main.sales.orders; did you mean main.sales.order\?"):
        open_pins(folder / "jobs" / "4711.json", "daily", None, {"day": "1"})
    path.write_text("tabels: {}\ntables: {}")
    with pytest.raises(BadInput, match=r"unknown key tabels; did you mean tables\?"):
        open_pins(folder / "jobs" / "4711.json", "daily", None, {"day": "1"})


def test_a_notebook_that_was_exported_otherwise_is_told_so(folder: Path) -> None:
    (folder / "sources" / "etl" / "daily.sql").rename(folder / "sources" / "etl" / "daily.ipynb")
    with pytest.raises(BadInput, match="export it as SOURCE"):
        open_pins(folder / "jobs" / "4711.json", "daily", None, {"day": "1"})


def test_runs_without_their_tasks_do_not_say_how_long_one_took() -> None:
    alone = {"runs": [{"start_time": 0, "execution_duration": 1500, "state": {"result_state": "SUCCESS"}}]}
    assert [(r.started_at, r.duration_s) for r in parse_runs(alone, "t", "runs")] == [
        ("1970-01-01T00:00:00+00:00", 1.5)
    ]
    newer = [{"start_time": 0, "execution_duration": 9, "status": {"termination_details": {"code": "SUCCESS"}}}]
    assert len(parse_runs(newer, "t", "runs")) == 1
    with pytest.raises(BadInput, match="does not say how long its task t took"):
        parse_runs(alone, "t", "runs", alone=False)
    with pytest.raises(BadInput, match=r"runs\.0\.start_time"):
        parse_runs([{}], "t", "runs")


def test_the_day_of_the_output_is_productions_and_no_ones_else(folder: Path) -> None:
    """A day that the rewrite may write more of is not a day that is compared."""
    write_deltalake(folder / "tables" / "daily", daily("2026-02-27", {"z": 1}), mode="append")
    job = open_pins(folder / "jobs" / "4711.json", "daily", None, {"day": "2026-03-01"}).job
    assert [row[:2] for row in after(job)] == [("2026-02-28", "a"), ("2026-03-01", "a"), ("2026-03-01", "b")]
