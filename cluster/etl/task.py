"""A production task before it is pinned: its SQL, where its tables lie, when it ran. The edge of every import."""

from pathlib import Path

from cluster.etl.catalog import TableAddress
from services.contracts.etl import Contract, Dialect, Mode, ProductionRun
from services.contracts.record import Record


class OutputAddress(Record):
    """Production's output: a Delta table with the version that the run made, or Parquet files as they were after it.

    `before` is the version, or the files, from before the run; a Delta table's defaults to the version before.
    """

    name: str
    mode: Mode | None = None
    path: Path | None = None
    version: int | None = None
    before: int | Path | None = None


class TaskSpec(Record):
    """One task of one job. `statements` are in the task's own dialect; `sources` has at least the tables they read."""

    job_id: str
    task_key: str
    statements: tuple[str, ...]
    dialect: Dialect
    sources: dict[str, TableAddress]
    output: OutputAddress
    question: str = ""
    started_at: str | None = None
    contract: Contract = Contract()
    history: tuple[ProductionRun, ...] = ()
    changes: tuple[str, ...] = ()
