"""SQLite files as typed tables: SQLite types values, so a column gets the narrowest type that holds them all."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cluster.tasksets.semantics import ColumnKind, Columns
from cluster.tasksets.tables import Table
from services.contracts.errors import BadInput
from services.contracts.statements import Cell, Rows

INT64 = 2**63
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY rowid"
GOLD_STEPS = 50_000_000
"""Virtual machine steps after which a gold query in SQLite is given up (some seconds)."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection. Raises BadInput if the file is no readable SQLite database."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield connection
    except sqlite3.DatabaseError as error:
        raise BadInput(f"{path.name} is not a readable SQLite database: {error}") from error


def read_tables(connection: sqlite3.Connection) -> list[Table]:
    """All tables with their rows, in order of creation."""
    return [_read_table(connection, name) for (name,) in connection.execute(_TABLES).fetchall()]


def column_kinds(connection: sqlite3.Connection, tables: Iterable[Table]) -> Columns:
    """What each column is in DuckDB, and its affinity in SQLite (sqlite.org/datatype3.html §3.1)."""
    kinds: dict[str, dict[str, ColumnKind]] = {}
    for table in tables:
        declared = {
            row[1]: str(row[2]).upper() for row in connection.execute(f"PRAGMA table_info({_quoted(table.name)})")
        }
        kinds[table.name.lower()] = {
            name.lower(): ColumnKind(kind, _affinity(declared[name])) for name, kind in table.columns
        }
    return kinds


def reversed_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The database in memory with the rows of every table in reverse, and no key that would put them back in order."""
    copy = sqlite3.connect(":memory:")
    copy.text_factory = connection.text_factory
    for (name,) in connection.execute(_TABLES).fetchall():
        info = connection.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
        copy.execute(f"CREATE TABLE {_quoted(name)} ({', '.join(f'{_quoted(row[1])} {row[2]}' for row in info)})")
        rows = connection.execute(f"SELECT * FROM {_quoted(name)}").fetchall()
        copy.executemany(f"INSERT INTO {_quoted(name)} VALUES ({', '.join('?' * len(info))})", reversed(rows))
    return copy


def run_gold(connection: sqlite3.Connection, sql: str) -> Rows:
    """The rows of a gold query. Raises sqlite3.Error if it is faulty or never ends."""
    connection.set_progress_handler(lambda: 1, GOLD_STEPS)
    try:
        return [[_cell(value) for value in row] for row in connection.execute(sql).fetchall()]
    finally:
        connection.set_progress_handler(None, 0)


def _cell(value: str | int | float | bytes | None) -> Cell:
    return {"blob": value.hex()} if isinstance(value, bytes) else value


def _read_table(connection: sqlite3.Connection, name: str) -> Table:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")]
    rows = connection.execute(f"SELECT * FROM {_quoted(name)}").fetchall()
    kinds = [_column_type(row[index] for row in rows) for index in range(len(columns))]
    typed = [tuple(map(_converted, row, kinds)) for row in rows]
    return Table(name=name, columns=tuple(zip(columns, kinds, strict=True)), rows=typed)


def _affinity(declared: str) -> str:
    if "INT" in declared:
        return "numeric"
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    return "none" if not declared or "BLOB" in declared else "numeric"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _column_type(values: Iterable[object]) -> str:
    found = {_value_type(value) for value in values if value is not None}
    if not found:
        return "VARCHAR"
    if len(found) == 1:
        return found.pop()
    return "DOUBLE" if found <= {"BIGINT", "DOUBLE"} else "VARCHAR"


def _value_type(value: object) -> str:
    match value:
        case int():
            return "BIGINT" if -INT64 <= value < INT64 else "VARCHAR"
        case float():
            return "DOUBLE"
        case bytes():
            return "BLOB"
        case _:
            return "VARCHAR"


def _converted(value: object, kind: str) -> object:
    if value is None or kind in ("BIGINT", "BLOB"):
        return value
    if kind == "DOUBLE":
        return float(value)  # type: ignore[arg-type]
    return value.hex() if isinstance(value, bytes) else str(value)
