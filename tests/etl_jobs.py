"""ETL jobs of a few rows for tests, on Parquet files that everybody may read; and a grader that starts no process.

Its judge and its runs are the grader's own code: the write guard and the engine, in the test's process.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path

import duckdb

from services.contracts.etl import Contract, EtlJob, Mode, PinnedTable, TableColumn
from services.grader.etl.asking import Judgement, Refused, Scope
from services.grader.etl.frames import Refusal
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.writeguard import Scope as GuardScope
from services.grader.etl.writeguard import WriteGuard
from services.grader.runtime.cores import Core
from services.grader.runtime.engine import Engine
from services.grader.runtime.job import Job
from services.grader.runtime.run import Output, Run, RunOutcome, Stopped, Work
from services.grader.runtime.running import order_of

TABLES = {
    "sales.orders": (
        "SELECT i AS id, i % 41 AS customer, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'open' ELSE 'paid' END AS status, "
        "((i * 37) % 101)::DOUBLE AS amount, DATE '2024-01-01' + (i % 60)::INT AS day FROM range(1, 901) r(i)"
    ),
    "sales.customers": "SELECT i AS id, 'region ' || i % 4 AS region, 'Name ' || i AS name FROM range(40) r(i)",
}
ORIGINAL = (
    "CREATE TABLE sales.daily AS SELECT c.region, o.day, count(*) AS orders, count(o.status) AS known, "
    "sum(o.amount) AS total, max(o.amount) AS largest FROM sales.orders o JOIN sales.customers c ON o.customer = c.id "
    "WHERE o.status = 'paid' OR o.status IS NULL GROUP BY c.region, o.day"
)


def public_folder() -> Path:
    """A new folder that everybody may read."""
    folder = Path(tempfile.mkdtemp(prefix="assay-test-"))
    folder.chmod(0o755)
    return folder


def pin(connection: duckdb.DuckDBPyConnection, folder: Path, name: str, query: str, file: str = "") -> PinnedTable:
    """A query's rows as a pinned table."""
    path = folder / f"{file or name}.parquet"
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    described = connection.execute(f"DESCRIBE FROM '{path}'").fetchall()
    counted = connection.execute(f"SELECT count(*) FROM '{path}'").fetchone()
    os.chmod(path, 0o444)
    return PinnedTable(
        name=name,
        kind="parquet",
        files=(str(path),),
        columns=tuple(TableColumn(name=row[0], type=row[1]) for row in described),
        rows=int(counted[0]) if counted else 0,
    )


def etl_job(
    folder: Path,
    statements: Sequence[str] = (ORIGINAL,),
    tables: Mapping[str, str] = TABLES,
    output: str = "sales.daily",
    mode: Mode = "create",
    before: str = "",
    contract: Contract | None = None,
) -> EtlJob:
    """A job over those tables; production ran it once, on the rows `before` if it does not make its output."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA sales")
        for name, query in tables.items():
            connection.execute(f"CREATE TABLE {name} AS {query}")
        sources = tuple(pin(connection, folder, name, f"FROM {name}") for name in tables)
        old = pin(connection, folder, output, before, "before") if before else None
        if before:
            connection.execute(f"CREATE TABLE {output} AS {before}")
        for sql in statements:
            connection.execute(sql)
        after = pin(connection, folder, output, f"FROM {output}", "after")
    return EtlJob(
        job_id="4711",
        task_key="daily",
        question="Make it cheaper.",
        statements=tuple(statements),
        output=output,
        mode=mode,
        output_columns=after.columns,
        sources=sources,
        before=old,
        after=after,
        contract=contract or Contract(),
    )


def judge_here(scope: Scope, statements: Sequence[str]) -> Judgement | Refused:
    """What services.grader.etl.asking.judge_apart says, without a process of its own."""
    fields = scope.model_dump(mode="json") | {
        "tables": {name: frozenset(columns) for name, columns in scope.tables.items()}
    }
    try:
        judged = WriteGuard(GuardScope(**fields)).statements(statements)
    except Refusal as error:
        return Refused(reason=error.reason, message=str(error))
    return Judgement(sql=tuple(sql for one in judged for sql in one.sql), volatile=any(one.volatile for one in judged))


def run_here(job: Job, core: Core, profile: bool = False, keep: Path | None = None) -> RunOutcome:
    """A run on the engine of services.grader.runtime, without a process of its own."""
    assert keep is not None
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    order = {**order_of(job, core, keep), "profile": profile}
    with chdir(keep):
        engine = Engine(order)
        try:
            profiles = engine.run(order["statements"], order["query"], profile)
            outputs = engine.outputs(order)
        except duckdb.Error as error:
            return Stopped(reason="sql_error", message=str(error))
        engine.settle()
    lacking = [Stopped(reason="output", message=str(output["lacks"])) for output in outputs if "lacks" in output]
    if lacking:
        return lacking[0]
    return Run(
        core=core.number,
        user_s=0.001,
        system_s=0.0,
        wall_s=0.001,
        outputs=tuple(Output.model_validate(output) for output in outputs),
        work=tuple(Work.model_validate(work) for work in profiles),
    )


def grader_here(job: EtlJob, seed: int = 1) -> SubmissionGrader:
    """A grader that starts no process until it times."""
    return SubmissionGrader(job, seed=seed, judge=judge_here, run=run_here)
