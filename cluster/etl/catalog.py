"""Where the tables of a job lie: a name stands for a Parquet file, a folder of them, or a Delta table."""

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.etl.delta import is_delta, open_delta, path_values, pin_delta, plain_paths
from cluster.etl.timeline import commits_of, parse_time, version_at, written_out
from services.contracts.errors import BadInput
from services.contracts.etl import PinnedTable, TableColumn
from services.contracts.record import Record
from services.grader.etl.pinned import SETTINGS, files_relation
from services.grader.tables.files import inside, parquet_files
from services.grader.tables.schema import columns_of


class TableAddress(Record):
    """A table's place; a Delta table may be read at a version, or at a time of its own."""

    path: Path
    version: int | None = None
    timestamp: str | None = None


class Resolution(Record):
    """How a version was found: the time that was asked for, and when the version was committed."""

    table: str
    version: int
    asked_for: str | None
    committed_at: str | None


class Found(Record):
    """A table as it was pinned, its folder, its partition columns, and how its version was found if it has one."""

    table: PinnedTable
    folder: Path
    keys: tuple[str, ...] = ()
    resolution: Resolution | None = None


def find_table(name: str, address: TableAddress, as_of: datetime | None) -> Found:
    """Pin one table: a Delta table at its version, its time, or `as_of`; Parquet files as they are. Raises BadInput."""
    path = address.path.absolute()
    if not path.exists():
        raise BadInput(f"{name}: there is nothing at {path}")
    if not is_delta(path):
        if address.version is not None or address.timestamp is not None:
            raise BadInput(f"{name}: {path} is no Delta table, so it has no versions")
        return find_parquet(name, path)
    return find_delta(name, path, resolve(name, address.model_copy(update={"path": path}), as_of))


def find_delta(name: str, path: Path, resolution: Resolution) -> Found:
    """A Delta table at a version that is known."""
    version = resolution.version
    keys = tuple(open_delta(path, version, name).metadata().partition_columns)
    return Found(table=pin_delta(name, path, version), folder=path, keys=keys, resolution=resolution)


def resolve(name: str, address: TableAddress, as_of: datetime | None) -> Resolution:
    """The version of a Delta table that is meant. Raises BadInput where nothing says which."""
    if address.version is not None and address.timestamp is not None:
        raise BadInput(f"{name}: give a version or a timestamp, not both")
    if address.version is not None:
        return Resolution(table=name, version=address.version, asked_for=None, committed_at=None)
    time = parse_time(address.timestamp, f"{name}.timestamp") if address.timestamp is not None else as_of
    if time is None:
        raise BadInput(f"{name}: which version did production read? Give started_at, or the table's version")
    commit = version_at(commits_of(address.path, name), time, name)
    return Resolution(
        table=name, version=commit.version, asked_for=time.isoformat(), committed_at=written_out(commit.at_ms)
    )


def find_parquet(name: str, path: Path) -> Found:
    """A Parquet file, or the files below a folder, whose paths may hold columns. Raises BadInput."""
    files = [inside(path, file) for file in parquet_files(path)] if path.is_dir() else [path]
    keys = _keys(path, files, name) if path.is_dir() else ()
    footers = [_footer(file, name) for file in files]
    schemas = [
        columns_of(footer.schema.to_arrow_schema(), str(file)) for footer, file in zip(footers, files, strict=True)
    ]
    for file, schema in zip(files, schemas, strict=True):
        if schema != schemas[0]:
            raise BadInput(f"{name}: {file} and {files[0]} do not have the same columns: they are no one table")
    listed = plain_paths(files, path if keys else None, name)
    table = PinnedTable(
        name=name,
        kind="parquet",
        files=listed,
        hive_partitioning=bool(keys),
        columns=_columns(listed, bool(keys), name),
        rows=sum(footer.num_rows for footer in footers),
    )
    return Found(table=table, folder=path, keys=keys)


def _keys(folder: Path, files: list[Path], name: str) -> tuple[str, ...]:
    """The columns in the files' paths, the same for each of them."""
    found = {tuple(part.partition("=")[0] for part in _below(folder, file) if "=" in part) for file in files}
    if len(found) > 1:
        raise BadInput(
            f"{name}: files of {folder} lie under {' and under '.join(map(str, sorted(found)))}: no one table"
        )
    return next(iter(found))


def _below(folder: Path, file: Path) -> tuple[str, ...]:
    return file.relative_to(folder).parts[:-1]


def _footer(file: Path, name: str) -> Any:
    try:
        return pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{name}: {file} is not a Parquet file, or a damaged one: {error}") from error


def _columns(files: tuple[str, ...], hive: bool, name: str) -> tuple[TableColumn, ...]:
    """The columns as DuckDB reads the files; a partition column gets the type that its values suggest."""
    with duckdb.connect(config=SETTINGS) as connection:
        try:
            described = connection.execute(f"DESCRIBE FROM {files_relation(files, hive, autocast=True)}").fetchall()
        except duckdb.Error as error:
            raise BadInput(f"{name}: {str(error).splitlines()[0]}") from error
    return tuple(TableColumn(name=str(row[0]), type=str(row[1])) for row in described)


def partition_of(found: Found, file: str) -> tuple[tuple[str, str | None], ...]:
    """The values of the partition columns of one file."""
    return path_values(found.folder, Path(file), found.keys)
