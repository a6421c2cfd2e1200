"""A Parquet file as a typed table: the types that DuckDB gives its columns, without time zones and dictionaries."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.tasksets.delimited import check_names
from cluster.tasksets.tables import Table
from services.contracts.errors import BadInput

_TIMES = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")
_UNSUPPORTED = ("MAP(", "UNION(", "INTERVAL", "TIME WITH TIME ZONE", "BIT", "VARIANT", "GEOMETRY")


def read_parquet(path: Path, name: str, shown: str) -> Table:
    """The whole file; a time with a zone becomes UTC. Raises BadInput if it cannot be read or held."""
    try:
        with pq.ParquetFile(path) as file:
            source = file.read()
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{shown} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    names = tuple(source.column_names)
    check_names(names, shown)
    with duckdb.connect(config={"threads": "1"}) as connection:
        try:
            return _table(connection, source, name, shown)
        except (duckdb.Error, ValueError, OverflowError) as error:
            raise BadInput(f"{shown}: {str(error).splitlines()[0]}") from error


def _table(connection: duckdb.DuckDBPyConnection, source: pa.Table, name: str, shown: str) -> Table:
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("source", source)
    described = connection.execute("DESCRIBE source").fetchall()
    columns = tuple((str(row[0]), _held_as(str(row[1]), str(row[0]), shown)) for row in described)
    picks = ", ".join(f"CAST({_quoted(column)} AS {kind})" for column, kind in columns)
    return Table(name=name, columns=columns, rows=connection.execute(f"SELECT {picks} FROM source").fetchall())


def _held_as(kind: str, column: str, shown: str) -> str:
    if kind in _TIMES:
        return "TIMESTAMP"
    if kind.startswith("ENUM"):
        return "VARCHAR"
    if any(part in kind for part in _UNSUPPORTED):
        raise BadInput(f"{shown}: column {column} is a {kind}, which a task set cannot hold: write it as text")
    return kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
