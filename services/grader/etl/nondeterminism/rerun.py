"""The proof of the classes: the original again, with other thread counts and rows in other orders, compared by column.

Invariant: a column that was classed stable and differs is a new risk; to differ in none of the runs proves nothing.
"""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import duckdb
from pydantic import Field

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import ColumnRisk, EtlJob, PinnedTable
from services.contracts.record import Record
from services.grader.etl.nondeterminism.differing import Difference, differing
from services.grader.etl.pinned import SETTINGS, column_list, create_view, declare, dotted, quoted, relation, text

ROW_GROUPS = 16
"""Parts of a shuffled source, so that threads share it."""
SMALLEST_GROUP = 2048
CATALOG_PARTS = 3


class Variation(Record):
    """How one run differs from others: its threads, and the order of all sources' rows; 0 is the order of the pin."""

    threads: int = Field(ge=1)
    order: int = Field(default=0, ge=0, description="seed of a shuffle")


PLAN = (
    Variation(threads=1),
    Variation(threads=2),
    Variation(threads=4, order=1),
    Variation(threads=1, order=2),
    Variation(threads=2, order=3),
)
"""The first run is the one that the others are compared with."""


class RerunLimits(Record):
    """What one run may use."""

    deadline_s: float = Field(default=900.0, gt=0, description="seconds of wall time")
    memory_mb: int = Field(default=4096, ge=64, description="MB for the engine's buffers")
    spill_mb: int = Field(default=32_768, ge=0)


class ColumnOutcome(Record):
    """What became of one output column over all runs; None is the set of rows."""

    column: str | None
    classed: str = Field(description="its classes, such as BE; empty: stable")
    differed: Difference
    runs: tuple[int, ...] = Field(description="places in the plan of the runs in which it differed")


class RerunReport(Record):
    """What the runs showed. `found` are risks that the SQL did not show."""

    plan: tuple[Variation, ...]
    seconds: tuple[float, ...]
    columns: tuple[ColumnOutcome, ...]
    found: tuple[ColumnRisk, ...]


def rerun(
    job: EtlJob,
    plan: Sequence[Variation] = PLAN,
    limits: RerunLimits | None = None,
    folder: Path | None = None,
) -> RerunReport:
    """Run a job's original as often as the plan says, and compare each output with the first one's.

    The job has its risks already. `folder` is where copies and outputs are kept meanwhile, by default a temporary one.
    Raises BadInput if the original fails or is too slow, Infrastructure where memory or disk run out.
    """
    with tempfile.TemporaryDirectory(prefix="assay-rerun-", dir=folder) as own:
        seconds: list[float] = []
        outputs: list[Path] = []
        for place, variation in enumerate(plan):
            started = time.monotonic()
            outputs.append(Path(own) / f"output-{place}.parquet")
            with _tables(job, variation, Path(own)) as tables:
                run_original(tables, variation.threads, outputs[-1], limits or RerunLimits())
            seconds.append(time.monotonic() - started)
        found = [differing(job, outputs[0], output) for output in outputs[1:]]
    columns = tuple(_outcomes(job, found))
    return RerunReport(plan=tuple(plan), seconds=tuple(seconds), columns=columns, found=tuple(_found(columns)))


@contextmanager
def _tables(job: EtlJob, variation: Variation, own: Path) -> Iterator[EtlJob]:
    """The job over its sources in the order that is asked for; copies are gone afterwards."""
    if not variation.order:
        yield job
        return
    with tempfile.TemporaryDirectory(prefix="shuffled-", dir=own) as folder:
        tables = [*job.sources, *([job.before] if job.before is not None else [])]
        copies = [
            _shuffled(table, Path(folder) / f"{place}.parquet", variation.order) for place, table in enumerate(tables)
        ]
        before = copies.pop() if job.before is not None else None
        yield job.model_copy(update={"sources": tuple(copies), "before": before})


def _shuffled(table: PinnedTable, to: Path, seed: int) -> PinnedTable:
    """A copy of a table with its rows in an order that the seed draws."""
    if not table.files:
        return table
    size = max(SMALLEST_GROUP, table.rows // ROW_GROUPS)
    with duckdb.connect(config={**SETTINGS, "threads": 1, "temp_directory": str(to.parent)}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SELECT setseed(?)", [1 / (seed + 1)])
        ordered = f"SELECT * FROM ({relation(table)}) ORDER BY random()"
        _executed(connection, f"COPY ({ordered}) TO {text(str(to))} (FORMAT parquet, ROW_GROUP_SIZE {size})")
    return table.model_copy(update={"files": (str(to),), "kind": "parquet", "hive_partitioning": False})


def run_original(job: EtlJob, threads: int, output: Path, limits: RerunLimits) -> None:
    """Run a job's own statements, which are trusted, and write the output table to a Parquet file.

    Raises BadInput, Infrastructure.
    """
    with tempfile.TemporaryDirectory(prefix="spill-", dir=output.parent) as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            **SETTINGS,
            "threads": threads,
            "memory_limit": f"{limits.memory_mb}MB",
            "temp_directory": spill,
            "max_temp_directory_size": f"{limits.spill_mb}MB",
        }
        with duckdb.connect(config=config) as connection:
            _set_up(connection, job)
            alarm = threading.Timer(limits.deadline_s, connection.interrupt)
            alarm.start()
            try:
                for statement in job.statements:
                    _executed(connection, statement)
            finally:
                alarm.cancel()
            name = dotted(job.output.lower())
            _executed(connection, f"COPY (FROM {name}) TO {text(str(output))} (FORMAT parquet)")


def _set_up(connection: duckdb.DuckDBPyConnection, job: EtlJob) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    for name in (job.output.lower(), *(table.name for table in job.sources)):
        parts = name.split(".")
        if len(parts) == CATALOG_PARTS:
            connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {quoted(parts[0])}")
        if len(parts) > 1:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dotted('.'.join(parts[:-1]))}")
    for table in job.sources:
        create_view(connection, table)
    if job.mode != "create":
        name = job.output.lower()
        declare(connection, name, f"CREATE TABLE {dotted(name)} ({column_list(job.output_columns)})")
        if job.before is not None:
            connection.execute(f"INSERT INTO {dotted(name)} {relation(job.before)}")


def _executed(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        connection.execute(sql)
    except duckdb.InterruptException as error:
        raise BadInput("the original is too slow to be run again: raise the deadline") from error
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise Infrastructure(f"the original could not be run again: {error}") from error
    except duckdb.Error as error:
        raise BadInput(f"the original cannot be run again: {error}") from error


def _outcomes(job: EtlJob, found: Sequence[dict[str | None, Difference]]) -> Iterator[ColumnOutcome]:
    names: list[str | None] = [None, *(column.name for column in job.output_columns)]
    for name in names:
        classed = "".join(risk.kind for risk in job.risks if risk.column == name)
        runs = tuple(place for place, differences in enumerate(found, 1) if differences.get(name, "no") != "no")
        worst: Difference = "no"
        for differences in found:
            worst = max(worst, differences.get(name, "no"), key=_WORSE.index)
        yield ColumnOutcome(column=name, classed=classed, differed=worst, runs=runs)


_WORSE: tuple[Difference, ...] = ("no", "drift", "yes")


def _found(columns: Sequence[ColumnOutcome]) -> Iterator[ColumnRisk]:
    """What the SQL did not show. Where the rows themselves may differ, so may every column."""
    open_rows = bool(columns[0].classed)
    for outcome in columns:
        runs = len(outcome.runs)
        kind: Literal["E", "F"]
        if outcome.differed == "drift" and not outcome.classed:
            kind, reason = "E", f"it drifted within the tolerance in {runs} runs, though its SQL shows no sum of floats"
        elif outcome.differed == "yes" and outcome.classed == "E":
            kind, reason = "F", f"it is a sum of floats, and differed by more than the tolerance in {runs} runs"
        elif outcome.differed == "yes" and not outcome.classed and not open_rows:
            kind, reason = "F", f"it differed in {runs} runs, and nothing in its SQL says why"
        else:
            continue
        yield ColumnRisk(column=outcome.column, kind=kind, reason=reason)
