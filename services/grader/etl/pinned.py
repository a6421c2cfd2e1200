"""How a pinned table is read: one SELECT over its files, with the columns, order and types of the pin.

Invariant: the types are those of the pin, whatever the engine would guess from a folder's name. The session's time
zone must be UTC, for old files hold instants without a zone.
"""

from collections.abc import Sequence

import duckdb

from services.contracts.etl import PinnedTable, TableColumn

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
}


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def dotted(name: str) -> str:
    """A dotted name, each part as an SQL identifier."""
    return ".".join(map(quoted, name.split(".")))


def files_relation(files: Sequence[str], hive_partitioning: bool, by_name: bool = False, autocast: bool = False) -> str:
    """The table function that reads the files; a partition column is text unless it is `autocast`."""
    listed = ", ".join(map(text, files))
    flags = {"hive_partitioning": hive_partitioning, "union_by_name": by_name}
    if hive_partitioning:
        flags["hive_types_autocast"] = autocast
    return f"read_parquet([{listed}], {', '.join(f'{name} = {str(on).lower()}' for name, on in flags.items())})"


def relation(table: PinnedTable) -> str:
    """A SELECT of all rows of the table. Files of a Delta table may lack columns that were added later."""
    columns = table.columns
    if not table.files:
        return f"SELECT {', '.join(f'CAST(NULL AS {c.type}) AS {quoted(c.name)}' for c in columns)} WHERE false"
    picks = ", ".join(f"CAST({quoted(c.name)} AS {c.type}) AS {quoted(c.name)}" for c in columns)
    return f"SELECT {picks} FROM {files_relation(table.files, table.hive_partitioning, table.kind == 'delta')}"


def declare(connection: duckdb.DuckDBPyConnection, name: str, make: str) -> None:
    """Run `CREATE make name AS …` where the schema of a dotted name may not be there yet. Raises duckdb.Error."""
    schema, dot, _ = name.rpartition(".")
    if dot:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dotted(schema)}")
    connection.execute(make)


def create_view(connection: duckdb.DuckDBPyConnection, table: PinnedTable) -> None:
    """The table as a view under its dotted name. Raises duckdb.Error."""
    declare(connection, table.name, f"CREATE VIEW {dotted(table.name)} AS {relation(table)}")


def column_list(columns: Sequence[TableColumn]) -> str:
    """The columns as a CREATE TABLE lists them."""
    return ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
