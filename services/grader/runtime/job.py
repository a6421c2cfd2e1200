"""What is measured: statements over read-only sources, and where their output lies.

Invariant: the rewrite gives the statements only. Sources, preparation, outputs and limits come from the original, so
that both sides run under the same terms.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from services.contracts.record import Record


def _not_taken(name: str) -> str:
    if name.lower() in ("run", "memory", "system", "temp"):
        raise ValueError(f"{name} is the name of a catalog of every run: choose another")
    return name


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
SourceName = Annotated[Name, AfterValidator(_not_taken)]
Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]


class DatabaseSource(Record):
    """A DuckDB file, attached read-only under a name; its tables are also found without the name."""

    kind: Literal["database"] = "database"
    name: SourceName
    path: Path


class ParquetSource(Record):
    """Parquet files that are read as one table."""

    kind: Literal["parquet"] = "parquet"
    name: SourceName
    paths: tuple[Path, ...] = Field(min_length=1)
    hive_partitioning: bool = False


Source = Annotated[DatabaseSource | ParquetSource, Field(discriminator="kind")]


class JobLimits(Record):
    """What one run may use. Both sides have the same."""

    deadline_s: float = Field(default=120.0, gt=0, description="seconds of wall time, set-up included")
    memory_mb: int = Field(default=1024, ge=64, description="MB for the engine's buffers")
    headroom_mb: int = Field(default=768, ge=256, description="MB of address space on top of that")
    spill_mb: int = Field(default=4096, ge=0, description="MB of temporary files")
    file_mb: int = Field(default=16384, ge=1, description="MB of any one file that is written")


class Job(Record):
    """Statements that run in order in a folder of their own; they may write its database and copy files into it.

    Without `tables` and `folders` the last statement is a query, and its whole result, written, is the output.
    """

    statements: tuple[str, ...] = Field(min_length=1, description="run inside the clock")
    sources: tuple[Source, ...] = ()
    prepare: tuple[str, ...] = Field(default=(), description="the grader's own statements, run before the clock starts")
    tables: tuple[Name, ...] = Field(default=(), description="base tables that the statements make or fill")
    folders: tuple[Folder, ...] = Field(default=(), description="folders of Parquet files that they copy into")
    unstable: tuple[str, ...] = Field(default=(), description="output columns that differ run by run, such as a stamp")
    limits: JobLimits = JobLimits()

    @property
    def is_query(self) -> bool:
        """Whether the output is the result of the last statement."""
        return not (self.tables or self.folders)

    def rewritten(self, statements: Sequence[str]) -> "Job":
        """The same job with other statements."""
        return self.model_copy(update={"statements": tuple(statements)})


class Comparison(Record):
    """A rewrite to be timed against its original."""

    original: Job
    rewrite: tuple[str, ...] = Field(min_length=1)
    seed: int = Field(default=0, description="of the order in which the two sides run")
