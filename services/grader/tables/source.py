"""Where a table lies: a Parquet file or folder, a Delta folder, or a table of a DuckDB file; read in a fixed order.

Invariant: a source that changes while it is read is a fault, never a verdict; one that is damaged is bad input.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from services.contracts.errors import BadInput, Infrastructure
from services.grader.tables.refute import Glance

BATCH_ROWS = 16_384
_VERSION = re.compile(r"(.+)@(\d+)\Z")
Stamp = tuple[int, int, int, int]
Ranges = dict[str, tuple[float, float]]


class Source(Protocol):
    """One table, to be read as often as is needed."""

    name: str
    rows: int
    ranges: Ranges
    """What the files say of their floats, if they do: a hint that tables have drifted, never believed."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The columns' values, in the same order of rows each time. Raises BadInput, Infrastructure."""
        ...

    def glance(self, columns: Sequence[str]) -> Glance | None:
        """A quick look that may refute equality; None where there is none to be had."""
        ...

    def check(self) -> None:
        """Raises Infrastructure if the table is not what it was when it was opened."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


def open_source(where: str) -> Source:
    """The table at a path. Raises BadInput with what was looked for."""
    from services.grader.tables.database import DuckDbSource
    from services.grader.tables.files import delta_source, parquet_source

    database, mark, table = where.rpartition("::")
    if mark:
        return DuckDbSource(Path(database), table)
    path, version = Path(where), None
    versioned = _VERSION.match(where)
    if versioned and not path.exists():
        path, version = Path(versioned[1]), int(versioned[2])
    if not path.exists():
        raise BadInput(f"there is nothing at {where}")
    if (path / "_delta_log").is_dir():
        return delta_source(path, version)
    if version is not None:
        raise BadInput(f"{path} is no Delta table, so it has no version {version}")
    return parquet_source(path)


class Stamps:
    """What the files of a table were when it was opened."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}
        for path, stamp in self._stamps.items():
            if stamp is None:
                raise BadInput(f"there is no file at {path}")

    def check(self) -> None:
        """Raises Infrastructure if a file is gone or has been written."""
        for path, stamp in self._stamps.items():
            now = _stamp(path)
            if now != stamp:
                raise Infrastructure(f"{path} {'is gone' if now is None else 'was written'} while it was read")


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def guarded(batches: Iterator[pa.RecordBatch], name: str, stamps: Stamps) -> Iterator[pa.RecordBatch]:
    """The batches that have rows. An error below is a fault if a file has changed, else the file is damaged."""
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (OSError, MemoryError, pa.ArrowException, duckdb.Error) as error:
            stamps.check()
            if isinstance(error, MemoryError | duckdb.OutOfMemoryException) or getattr(error, "errno", None):
                raise Infrastructure(f"{name} cannot be read: {error}") from error
            raise BadInput(f"{name} is damaged: {error}") from error
        if batch.num_rows:
            yield batch
