"""A quick look at a side by the engine's own hash, which may refute equality and never shows it.

Equal bags of values have equal sums of hashes, whatever the hash; forged ones may have them too (`hash` is no secret
function, and salting it does not make it one), so nothing is concluded from equal sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from services.grader.tables.schema import Column

_HASHED = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
           "VARCHAR", "BLOB", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "DECIMAL")  # fmt: skip
"""Types of which equal values surely hash alike: floats have two zeros and many NaNs, intervals many spellings."""

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "512MB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


@dataclass(frozen=True)
class Glance:
    """What the engine says of some columns of a side: their types in its words, and the sum of its hashes of them."""

    types: tuple[str, ...]
    total: int


def hashed(columns: Sequence[Column]) -> tuple[str, ...]:
    """The names of the columns that a glance may take in."""
    return tuple(column.name for column in columns if column.type.partition("(")[0] in _HASHED)


def glance(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]) -> Glance | None:
    """One scan of a table (SQL text). None where the engine cannot read it, which decides nothing."""
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    try:
        kinds = connection.execute(f"SELECT {names} FROM {table} LIMIT 0").description
        found = connection.execute(f"SELECT coalesce(sum(hash({names})), 0) FROM {table}").fetchone()
    except duckdb.Error:
        return None
    return Glance(tuple(str(kind[1]) for kind in kinds or ()), int(found[0])) if found else None


def refuted(left: Glance | None, right: Glance | None) -> bool:
    """Whether the two glances cannot be of equal tables."""
    return left is not None and right is not None and left.types == right.types and left.total != right.total
