"""A pinned job on ground of the grader's own: its sources as a run may read them, its statements as they may run.

Invariant: a run is given the sources and, for an increment, the output as it was before; never the output after it.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from services.contracts.etl import EtlJob, PinnedTable
from services.contracts.record import Record
from services.grader.etl.asking import Scope
from services.grader.etl.increment import scope_of
from services.grader.etl.pinned import column_list, dotted, quoted, relation
from services.grader.runtime.job import Job, JobLimits, ParquetSource

LIMITS = JobLimits(deadline_s=900, memory_mb=5120, headroom_mb=1536, spill_mb=32_768, file_mb=65_536)
"""Under 8 GB in all."""
WHOLE_ROWS = 2_000_000
"""Up to so many rows the output is given to a run as a whole, so that a change anywhere is seen."""
_CATALOG_PARTS = 3


class Ground(Record):
    """The tables that runs read: the pinned ones, or a variant of them."""

    sources: tuple[PinnedTable, ...]
    before: PinnedTable | None = None
    bounds: str = Field(default="", description="of the rows of `before` that a run starts with; empty: all of them")

    @property
    def tables(self) -> tuple[PinnedTable, ...]:
        """All of them."""
        return (*self.sources, *([self.before] if self.before else ()))


def ground_of(job: EtlJob) -> Ground:
    """The pinned tables themselves. Of a large output a run is given only what production's increment touched."""
    large = job.before is not None and job.before.rows > WHOLE_ROWS
    return Ground(sources=job.sources, before=job.before, bounds=scope_of(job).inside if large and job.touched else "")


def expected(job: EtlJob, ground: Ground) -> str:
    """A SELECT of what production left of the rows that a run on the pinned ground puts out."""
    scope = scope_of(job)
    inside = f"SELECT * FROM ({relation(job.after)}) WHERE {scope.inside}"
    if job.before is None or scope.outside is None or ground.bounds:
        return inside
    return f"{inside} UNION ALL SELECT * FROM ({relation(job.before)}) WHERE {scope.outside}"


def stored_name(job: EtlJob) -> str:
    """The base table of a run that stands for the output."""
    return job.output.lower().replace(".", "__")


def runtime_job(job: EtlJob, ground: Ground, statements: Sequence[str], limits: JobLimits = LIMITS) -> Job:
    """Statements that have been judged, over that ground, as a job of services.grader.runtime."""
    return Job(
        statements=tuple(statements),
        sources=tuple(
            ParquetSource(name=f"__pin_{number}", paths=tuple(map(Path, table.files)))
            for number, table in enumerate(ground.tables)
            if table.files
        ),
        prepare=(*_schemas(job), *map(_view, ground.sources), *_output_before(job, ground)),
        tables=(stored_name(job),),
        unstable=job.excluded,
        limits=limits,
    )


def guard_scope(job: EtlJob) -> Scope:
    """What the write guard must know of the job."""
    return Scope(
        job_id=job.job_id,
        tables={table.name.lower(): tuple(column.name.lower() for column in table.columns) for table in job.sources},
        output=job.output.lower(),
        stored=stored_name(job),
        exists=job.mode != "create",
        recreate=job.mode in ("create", "overwrite"),
    )


def _schemas(job: EtlJob) -> list[str]:
    """What makes the catalogs and schemas that dotted names need."""
    made: dict[str, None] = {}
    for name in (job.output, *(table.name for table in job.sources)):
        *catalog, schema, _ = ("", *name.lower().split("."))[-_CATALOG_PARTS:]
        if any(catalog):
            made[f"ATTACH IF NOT EXISTS ':memory:' AS {quoted(catalog[0])}"] = None
        if schema:
            made[f"CREATE SCHEMA IF NOT EXISTS {'.'.join(map(quoted, filter(None, (*catalog, schema))))}"] = None
    return list(made)


def _view(table: PinnedTable) -> str:
    return f"CREATE VIEW {dotted(table.name.lower())} AS {relation(table)}"


def _output_before(job: EtlJob, ground: Ground) -> list[str]:
    """The output as the job finds it: the rows that the increment can touch."""
    if job.mode == "create":
        return []
    stored, name = f"run.main.{quoted(stored_name(job))}", job.output.lower()
    where = f" WHERE {ground.bounds}" if ground.bounds else ""
    made = [
        f"CREATE TABLE {stored} ({column_list(job.output_columns)})",
        *([f"INSERT INTO {stored} FROM ({relation(ground.before)}){where}"] if ground.before else ()),
    ]
    return [*made, f"CREATE VIEW {dotted(name)} AS FROM {stored}"] if "." in name else made
