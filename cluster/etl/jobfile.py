"""The JOB.yaml that a person writes for a task of their own: one SQL file over Parquet files or Delta tables.

Paths in it count from its own folder. An unknown key is an error that names its nearest neighbour.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from cluster.etl.catalog import TableAddress
from cluster.etl.history import read_runs
from cluster.etl.task import OutputAddress, TaskSpec
from cluster.keys import explain
from services.contracts.errors import BadInput
from services.contracts.etl import Contract, Dialect, Mode, ProductionRun
from services.contracts.record import Record


class SourceEntry(Record):
    """Where a source lies; a Delta table may be read at a version or a time other than the run's start."""

    path: Path
    version: int | None = Field(default=None, ge=0)
    timestamp: str | None = None


class OutputEntry(Record):
    """What the task writes, and where production's rows of it lie: after its run, and before it."""

    name: str
    mode: Mode | None = None
    path: Path | None = None
    version: int | None = Field(default=None, ge=0)
    before: int | Path | None = None


class JobFile(Record):
    """A JOB.yaml."""

    job_id: str = Field(min_length=1)
    task_key: str = Field(min_length=1)
    question: str = ""
    sql: tuple[Path, ...] = Field(min_length=1, description="files that run in order")
    dialect: Dialect = "duckdb"
    sources: dict[str, SourceEntry] = Field(description="by name, as the SQL names them")
    output: OutputEntry
    started_at: str | None = Field(default=None, description="when production's run began, with its zone")
    history: tuple[ProductionRun, ...] | Path = Field(default=(), description="runs, or the file of a runs list")
    contract: Contract = Contract()

    @field_validator("job_id", "task_key", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("sql", mode="before")
    @classmethod
    def _one_file(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("sources", mode="before")
    @classmethod
    def _bare_paths(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {str(name): {"path": entry} if isinstance(entry, str) else entry for name, entry in value.items()}


def read_job_file(path: Path) -> TaskSpec:
    """The task that a JOB.yaml describes. Raises BadInput."""
    job = _parse(path)
    folder = path.absolute().parent
    output = job.output
    return TaskSpec(
        job_id=job.job_id,
        task_key=job.task_key,
        question=job.question,
        statements=tuple(_sql(folder / sql) for sql in job.sql),
        dialect=job.dialect,
        sources={
            name: TableAddress(path=folder / entry.path, version=entry.version, timestamp=entry.timestamp)
            for name, entry in job.sources.items()
        },
        output=OutputAddress(
            name=output.name,
            mode=output.mode,
            path=None if output.path is None else folder / output.path,
            version=output.version,
            before=folder / output.before if isinstance(output.before, Path) else output.before,
        ),
        started_at=job.started_at,
        contract=job.contract,
        history=read_runs(folder / job.history, job.task_key) if isinstance(job.history, Path) else job.history,
    )


def _parse(path: Path) -> JobFile:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_TextTimes)  # noqa: S506 — a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the job {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: expected keys and values at the top level")
    try:
        return JobFile.model_validate(tree)
    except ValidationError as error:
        raise BadInput(f"{path}: {explain(error, JobFile)}") from error


class _TextTimes(yaml.SafeLoader):
    """Leaves a time as it is written: YAML's own reading would drop its zone."""


_TextTimes.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _sql(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"sql: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
