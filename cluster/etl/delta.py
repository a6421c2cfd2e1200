"""A Delta table at one version as a pinned table; what cannot be read file by file is refused.

Invariant: the rows of the pin are the rows of the version. So deletion vectors, mapped columns, files outside of the
table's folder, and partition values that differ from their file's path are bad input.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from services.contracts.errors import BadInput
from services.contracts.etl import PinnedTable, TableColumn
from services.grader.etl.pinned import SETTINGS
from services.grader.tables.files import file_of, inside

READABLE = frozenset({"columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Reader features under which plain files are the whole truth, once mapping and vectors are seen not to be used."""
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_PARTITIONED_BY = ("VARCHAR", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DATE", "BOOLEAN")
Values = tuple[tuple[str, str | None], ...]


def is_delta(path: Path) -> bool:
    """Whether a folder has a Delta log."""
    return (path / "_delta_log").is_dir()


def open_delta(path: Path, version: int | None, name: str) -> DeltaTable:
    """The table at a version, the newest by default. Raises BadInput."""
    try:
        return DeltaTable(str(path), version=version)
    except (DeltaError, OSError, OverflowError) as error:
        which = "" if version is None else f" at version {version}"
        raise BadInput(f"{name}: the Delta table {path} cannot be read{which}: {str(error).splitlines()[0]}") from error


def pin_delta(name: str, path: Path, version: int) -> PinnedTable:
    """The table at a version. Raises BadInput for what cannot be read as plain files."""
    table = open_delta(path, version, name)
    _refuse_features(table, name)
    columns = _columns(table)
    keys = tuple(table.metadata().partition_columns)
    for key in keys:
        kind = next(column.type for column in columns if column.name == key)
        if kind not in _PARTITIONED_BY:
            raise BadInput(f"{name}: it is partitioned by {key}, a {kind}, which cannot be read back from a path")
    parts = _parts(table, path, keys, name)
    files = plain_paths([Path(file) for file in sorted(parts)], path if keys else None, name)
    plain = {column.name for column in columns} - set(keys)
    rows = sum(_rows(Path(file), name, version) for file in files)
    _refuse_missing(files, plain, name)
    return PinnedTable(
        name=name,
        kind="delta",
        files=files,
        hive_partitioning=bool(keys),
        columns=columns,
        version=version,
        rows=rows,
    )


def plain_paths(files: Sequence[Path], folder: Path | None, name: str) -> tuple[str, ...]:
    """The files as they can be listed to DuckDB, which takes some characters for patterns, and a folder like `a=b`
    above a partitioned table for one of its columns. Raises BadInput.
    """
    for file in files:
        if any(mark in str(file) for mark in "*?["):
            raise BadInput(f"{name}: {file} has a *, ? or [ in its path, which would be read as a pattern: rename it")
    if folder is not None and any("=" in part for part in folder.absolute().parts):
        raise BadInput(f"{name}: the path {folder} has a = in it, which would be read as a column: move the table")
    return tuple(map(str, files))


def _columns(table: DeltaTable) -> tuple[TableColumn, ...]:
    """The schema's columns with DuckDB's names of their types."""
    empty = pa.schema(table.schema().to_arrow()).empty_table()
    with duckdb.connect(config=SETTINGS) as connection:
        connection.register("empty", empty)
        described = connection.execute("DESCRIBE empty").fetchall()
    return tuple(TableColumn(name=str(row[0]), type=str(row[1])) for row in described)


def _refuse_features(table: DeltaTable, name: str) -> None:
    features = set(table.protocol().reader_features or ())
    if table.metadata().configuration.get("delta.columnMapping.mode", "none").lower() != "none":
        raise BadInput(f"{name}: its columns are mapped (delta.columnMapping.mode), which is not read: copy it plainly")
    if features - READABLE:
        raise BadInput(f"{name}: it needs the reader feature {min(features - READABLE)}, which is not read")
    if "deletionVectors" in features and _has_vectors(table):
        raise BadInput(f"{name}: it has deletion vectors, which are not read: run REORG TABLE {name} APPLY (PURGE)")


def _has_vectors(table: DeltaTable) -> bool:
    """Whether any file of this version has one; one that cannot be read is one too."""
    try:
        return any(pa.record_batch(batch).num_rows for batch in table.deletion_vectors())
    except DeltaError:
        return True


def _parts(table: DeltaTable, path: Path, keys: Sequence[str], name: str) -> dict[str, Values]:
    """The files with their partition's values, which must be those of their path."""
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    found = {}
    for action in actions:
        file = file_of(path, action["path"])
        if "://" in action["path"] or Path(action["path"]).is_absolute():
            raise BadInput(f"{name}: {action['path']} lies outside of its folder (a shallow clone): copy it as a whole")
        values = tuple((key, _as_text(action[f"partition.{key}"])) for key in keys)
        if values != path_values(path, file, keys):
            raise BadInput(f"{name}: the log says {_shown(values)} of {action['path']}, but its path does not")
        found[str(inside(path, file).absolute())] = values
    return found


def path_values(folder: Path, file: Path, keys: Sequence[str]) -> Values:
    """The values of the partition columns in a file's path below its table's folder."""
    parts = [part.partition("=") for part in file.relative_to(folder).parts[:-1] if "=" in part]
    said: Mapping[str, str] = {unquote(key): unquote(value) for key, _, value in parts}
    return tuple((key, None if said.get(key) == NO_VALUE else said.get(key)) for key in keys)


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(values: Values) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in values) or "no partition"


def _rows(file: Path, name: str, version: int) -> int:
    """Rows by the file's own footer: the log's figures are its author's word."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except FileNotFoundError as error:
        raise BadInput(f"{name}: version {version} is gone: {file} is no more (VACUUM removes old files)") from error
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{name}: {file} is not a Parquet file, or a damaged one: {error}") from error


def _refuse_missing(files: Sequence[str], plain: set[str], name: str) -> None:
    """A column that no file has would have to be made up."""
    held = {column.lower() for file in files for column in pq.read_schema(file).names}
    lacking = sorted(column for column in plain if column.lower() not in held)
    if files and lacking:
        raise BadInput(f"{name}: no file has the column {lacking[0]}, which was added later: rewrite the table once")
