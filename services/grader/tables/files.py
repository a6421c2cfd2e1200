"""Tables in files: one Parquet file, a folder of them, or a Delta table at one version."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import LocalFileSystem

from services.contracts.errors import BadInput
from services.grader.tables.refute import CONFIG, Glance, glance
from services.grader.tables.schema import columns_of
from services.grader.tables.source import BATCH_ROWS, Ranges, Stamps, guarded

PACKED_BYTES = 5
BUFFER_BYTES = 1 << 20
GROUPS_BYTES = 1 << 25
"""Row groups are read until they make this much: Arrow reads ahead all that it is asked for, a whole file if it may."""

Read = Callable[[list[str]], Iterator[pa.RecordBatch]]


class FilesSource:
    """A table whose rows lie in Parquet files (protocol: services.grader.tables.source.Source)."""

    def __init__(
        self, name: str, schema: pa.Schema, read: Read, files: Sequence[Path], footers: Sequence[Any], plain: bool
    ) -> None:
        self.name = name
        self.ranges = _ranges(footers)
        self.schema = schema
        self.rows = sum(footer.num_rows for footer in footers)
        self._read = read
        self._files = [str(file) for file in files]
        self._plain = plain
        self._stamps = Stamps(files)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The columns' values, file by file."""
        return guarded(self._read(list(columns)), self.name, self._stamps)

    def glance(self, columns: Sequence[str]) -> Glance | None:
        """The sum of the engine's hashes over plain files; none where folders or a log give some of the values."""
        if not self._plain:
            return None
        with duckdb.connect(config=CONFIG) as connection:
            files = ", ".join("'" + file.replace("'", "''") + "'" for file in self._files)
            return glance(connection, f"read_parquet([{files}], hive_partitioning = false)", columns)

    def check(self) -> None:
        """Raises Infrastructure if a file is not what it was."""
        self._stamps.check()

    def close(self) -> None:
        """Nothing is held open between reads."""


def _from_files(files: Sequence[Path], short: frozenset[str]) -> Read:
    """Reads files one after another. Columns in `short` are left as dictionaries."""

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        packed = sorted(short.intersection(columns))
        for path in files:
            with pq.ParquetFile(path, read_dictionary=packed, buffer_size=BUFFER_BYTES) as file:
                for groups in _portions(file.metadata):
                    for batch in file.iter_batches(BATCH_ROWS, groups, columns, use_threads=False):
                        yield batch.select(columns)

    return read


def _portions(footer: Any) -> Iterator[list[int]]:
    """The row groups of a file in portions of some 32 MB, or one group if that is bigger."""
    portion: list[int] = []
    held = 0
    for place in range(footer.num_row_groups):
        size = footer.row_group(place).total_byte_size
        if portion and held + size > GROUPS_BYTES:
            yield portion
            portion, held = [], 0
        portion.append(place)
        held += size
    if portion:
        yield portion


def _format() -> Any:
    return ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False))


def _from_dataset(dataset: Any) -> Read:
    """Reads a data set in the order of its files."""

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        options = {"batch_size": BATCH_ROWS, "use_threads": False, "batch_readahead": 1, "fragment_readahead": 1}
        yield from dataset.scanner(columns=columns, **options).to_batches()

    return read


def parquet_source(path: Path) -> FilesSource:
    """A Parquet file, or all *.parquet files below a folder, sorted by name. Raises BadInput."""
    files = [inside(path, file) for file in parquet_files(path)] if path.is_dir() else [path]
    footers = [_footer(file) for file in files]
    schema = footers[0].schema.to_arrow_schema()
    for file, footer in zip(files, footers, strict=True):
        if columns_of(footer.schema.to_arrow_schema(), str(file)) != columns_of(schema, str(files[0])):
            raise BadInput(f"{file} and {files[0]} do not have the same columns: they are no one table")
    if not any("=" in part for file in files for part in file.relative_to(path).parts[:-1]):
        return FilesSource(str(path), schema, _from_files(files, _short_texts(footers[0])), files, footers, True)
    try:
        dataset = ds.dataset([str(f) for f in files], format=_format(), partitioning=ds.HivePartitioning.discover())
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    return FilesSource(str(path), dataset.schema, _from_dataset(dataset), files, footers, False)


def _short_texts(footer: Any) -> frozenset[str]:
    """Flat columns that take so few bytes a value that they must be packed with a dictionary."""
    if not footer.num_row_groups:
        return frozenset()
    group = footer.row_group(0)
    columns = (group.column(place) for place in range(group.num_columns))
    return frozenset(
        column.path_in_schema
        for column in columns
        if column.physical_type == "BYTE_ARRAY"
        and column.has_dictionary_page
        and column.total_uncompressed_size < PACKED_BYTES * column.num_values
    )


def _ranges(footers: Sequence[Any]) -> Ranges:
    """The least and the greatest value of the flat columns of floats, as far as every part says so."""
    found: Ranges = {}
    missing = set()
    groups = (footer.row_group(place) for footer in footers for place in range(footer.num_row_groups))
    for column in (group.column(place) for group in groups for place in range(group.num_columns)):
        if column.physical_type not in ("FLOAT", "DOUBLE"):
            continue
        name, statistics = column.path_in_schema, column.statistics
        if statistics is None or not statistics.has_min_max:
            missing.add(name)
            continue
        low, high = found.get(name, (statistics.min, statistics.max))
        found[name] = min(low, statistics.min), max(high, statistics.max)
    return {name: range_ for name, range_ in found.items() if name not in missing}


def parquet_files(folder: Path) -> list[Path]:
    """Hidden files and those of jobs that are not over (`_temporary`) are no part of a table."""
    found = [
        file
        for file in sorted(folder.rglob("*.parquet"))
        if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    ]
    if not found:
        raise BadInput(f"there is no .parquet file and no _delta_log in {folder}")
    return found


def _footer(file: Path) -> Any:
    try:
        return pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{file} is not a Parquet file, or a damaged one: {error}") from error


def delta_source(path: Path, version: int | None) -> FilesSource:
    """A Delta table at a version, the newest by default. Raises BadInput.

    The data set that delta-rs makes is not read: where the log says that a column of a file is all NULL, it would give
    NULLs without a look at the file, and the log is the author's word.
    """
    try:
        table = DeltaTable(str(path), version=version)
        schema = table.to_pyarrow_dataset().schema
        actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise BadInput(f"cannot read the Delta table {path}: {error}") from error
    names = table.metadata().partition_columns
    parts = sorted((str(inside(path, file_of(path, action["path"]))), _partition(action, names)) for action in actions)
    files = [Path(file) for file, _ in parts]
    form, local = _format(), LocalFileSystem()
    fragments = [form.make_fragment(file, local, partition_expression=_all_of(values)) for file, values in parts]
    dataset = ds.FileSystemDataset(fragments, schema, form, local)
    footers = [_footer(file) for file in files if file.exists()]
    return FilesSource(f"{path}@{table.version()}", schema, _from_dataset(dataset), files, footers, False)


def file_of(folder: Path, name: str) -> Path:
    """The file of an add action: a path in the folder, or a URI."""
    if "://" in name:
        return Path(unquote(urlsplit(name).path))
    return folder / name if (folder / name).exists() else folder / unquote(name)


def inside(folder: Path, file: Path) -> Path:
    """The file, if it lies in its table's folder: an author must not have another's rows read as his own."""
    if not file.resolve().is_relative_to(folder.resolve()):
        raise BadInput(f"{file} leads out of its table's folder {folder}")
    return file


def _partition(action: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, action[f"partition.{name}"]) for name in names)


def _all_of(values: Sequence[tuple[str, Any]]) -> Any:
    found: Any = ds.scalar(True)
    for name, value in values:
        found = found & (ds.field(name).is_null() if value is None else ds.field(name) == value)
    return found
