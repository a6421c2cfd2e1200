"""A database on its way into a task set: typed tables, written as DuckDB, with catalog and content hash."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from services.contracts.errors import BadInput
from services.env_actor.catalog import RESERVOIR_ROWS, DatabaseCatalog, TableCatalog
from services.sandbox.engine import encode

Row = Sequence[object]
BLOCK_BYTES = 262_144
"""DuckDB's own size of a block; a small database wants a smaller one."""


@dataclass(frozen=True)
class Table:
    """One table: columns as (name, DuckDB type), rows in storage order."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: Sequence[Row]


def write_database(path: Path, tables: Iterable[Table], block_bytes: int = BLOCK_BYTES) -> None:
    """Write the tables, in order, to a new DuckDB file. Raises BadInput if a value does not fit its type."""
    parquet = path.with_suffix(".parquet")
    with duckdb.connect(str(path), config={"threads": "1", "default_block_size": block_bytes}) as connection:
        for table in tables:
            columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in table.columns)
            try:
                connection.execute(f"CREATE TABLE {_quoted(table.name)} ({columns})")
                if table.rows:
                    _write_parquet(parquet, table)
                    connection.execute(f"INSERT INTO {_quoted(table.name)} SELECT * FROM read_parquet('{parquet}')")
            except (duckdb.Error, pa.ArrowException) as error:
                raise BadInput(f"table {table.name}: {str(error).splitlines()[0]}") from error
    parquet.unlink(missing_ok=True)


def content_hash(tables: Iterable[Table]) -> str:
    """SHA-256 over names, types and rows: the same wherever the file is made."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(repr((table.name, table.columns, len(table.rows))).encode())
        for row in table.rows:
            digest.update(repr(tuple(row)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def read_catalog(path: Path) -> DatabaseCatalog:
    """What DESCRIBE and SAMPLE will show of a DuckDB file. The reservoir depends on the content only."""
    with duckdb.connect(str(path), read_only=True, config={"threads": "1"}) as connection:
        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY table_oid"
        ).fetchall()
        return DatabaseCatalog(tables=tuple(_table_catalog(connection, name) for (name,) in names))


def _table_catalog(connection: duckdb.DuckDBPyConnection, name: str) -> TableCatalog:
    columns = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $1 ORDER BY column_index", [name]
    ).fetchall()
    row = connection.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()
    count = int(row[0]) if row else 0
    picked = sorted(random.Random(name).sample(range(count), min(RESERVOIR_ROWS, count)))
    rows = connection.execute(
        f"SELECT * FROM {_quoted(name)} WHERE rowid IN (SELECT unnest($1::BIGINT[])) ORDER BY rowid", [picked]
    ).fetchall()
    reservoir = [[encode(cell) for cell in row] for row in rows]
    return TableCatalog.model_validate({"name": name, "columns": columns, "row_count": count, "reservoir": reservoir})


def _write_parquet(path: Path, table: Table) -> None:
    arrays = []
    for index in range(len(table.columns)):
        values = [row[index] for row in table.rows]
        known = any(value is not None for value in values)
        arrays.append(pa.array(values) if known else pa.array(values, pa.string()))
    names = [str(index) for index in range(len(arrays))]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), path)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
