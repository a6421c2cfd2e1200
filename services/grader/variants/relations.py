"""A database in memory while variants of it are made: tables of rows, read from and written to DuckDB files."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from services.contracts.errors import BadInput

BLOCK_BYTES = 16_384
"""The smallest block that DuckDB writes: a variant has tens of rows, not millions."""
Row = list[object]


@dataclass
class Relation:
    """One table. The rows may be changed, the columns never are."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: list[Row]

    def place(self, column: str) -> int:
        """Where a column stands, whatever its case; KeyError if there is none."""
        for place, (name, _) in enumerate(self.columns):
            if name.lower() == column.lower():
                return place
        raise KeyError(column)

    def values(self, place: int) -> list[object]:
        """A column's values but for NULL, in row order."""
        return [row[place] for row in self.rows if row[place] is not None]


Tables = dict[str, Relation]
"""Tables by their lower-case name, in order of creation."""


def read_tables(path: Path) -> Tables:
    """All tables of a DuckDB file. Raises BadInput if it cannot be read."""
    try:
        with duckdb.connect(str(path), read_only=True, config={"threads": "1"}) as connection:
            names = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY table_oid"
            ).fetchall()
            return {str(name).lower(): _read(connection, str(name)) for (name,) in names}
    except duckdb.Error as error:
        raise BadInput(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error


def write_tables(path: Path, tables: Tables) -> None:
    """Write the tables, in order, to a new DuckDB file that anyone may read."""
    with duckdb.connect(config={"threads": "1"}) as connection:
        connection.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS made (BLOCK_SIZE {BLOCK_BYTES})")
        for table in tables.values():
            columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in table.columns)
            connection.execute(f"CREATE TABLE made.{quoted(table.name)} ({columns})")
            if table.rows:
                connection.register("source", _arrow(table))
                connection.execute(f"INSERT INTO made.{quoted(table.name)} SELECT * FROM source")
                connection.unregister("source")
        connection.execute("DETACH made")
    path.chmod(0o644)


def copied(tables: Tables) -> Tables:
    """The same tables with rows of their own."""
    return {
        key: Relation(table.name, table.columns, [list(row) for row in table.rows]) for key, table in tables.items()
    }


def reversed_rows(tables: Tables) -> Tables:
    """The same rows in the opposite order."""
    return {key: Relation(table.name, table.columns, table.rows[::-1]) for key, table in tables.items()}


def shuffle(tables: Tables, dice: random.Random) -> None:
    """Put the rows of every table into another order."""
    for table in tables.values():
        dice.shuffle(table.rows)


def quoted(name: str) -> str:
    """The name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _read(connection: duckdb.DuckDBPyConnection, name: str) -> Relation:
    columns = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $1 ORDER BY column_index", [name]
    ).fetchall()
    rows = connection.execute(f"SELECT * FROM {quoted(name)} ORDER BY rowid").fetchall()
    return Relation(name, tuple((str(a), str(b)) for a, b in columns), [list(row) for row in rows])


def _arrow(table: Relation) -> pa.Table:
    arrays = [_array([row[place] for row in table.rows]) for place in range(len(table.columns))]
    return pa.Table.from_arrays(arrays, names=[str(place) for place in range(len(arrays))])


def _array(values: Sequence[object]) -> pa.Array:
    known = any(value is not None for value in values)
    return pa.array(values) if known else pa.array(values, pa.string())
