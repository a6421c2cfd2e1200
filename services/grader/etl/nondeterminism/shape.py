"""The shape of columns that are left out of the comparison: a stamp may have another value, but not no value.

Invariant: a column that keeps its shape has as many NULLs as the original's, is one value where that is one, and has
(nearly) no value twice where that has none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import duckdb

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.record import Record
from services.grader.etl.pinned import SETTINGS, quoted, text

Shape = Literal["empty", "one", "distinct", "mixed"]
NEARLY = 0.99
"""Random numbers of 32 bits meet by chance."""


class ColumnShape(Record):
    """How many values a column lacks, and how those that it has repeat."""

    nulls: int
    shape: Shape

    def allows(self, other: "ColumnShape") -> bool:
        """Whether another column is at least as regular."""
        return self.nulls == other.nulls and (self.shape == "mixed" or self.shape == other.shape)

    def __str__(self) -> str:
        return f"{self.shape}, {self.nulls} NULL"


class ShapeChange(Record):
    """A column whose shape is another one."""

    column: str
    left: ColumnShape
    right: ColumnShape


def shape_changes(left: Path, right: Path, columns: Sequence[str], memory_mb: int = 2048) -> tuple[ShapeChange, ...]:
    """The columns of the right that lost the left's shape; both are Parquet files. Raises BadInput, Infrastructure."""
    config = {**SETTINGS, "memory_limit": f"{memory_mb}MB", "temp_directory": str(left.parent)}
    with duckdb.connect(config=config) as connection:
        shapes = [(name, _shape(connection, left, name), _shape(connection, right, name)) for name in columns]
    return tuple(
        ShapeChange(column=name, left=mine, right=other) for name, mine, other in shapes if not mine.allows(other)
    )


def _shape(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> ColumnShape:
    column = quoted(name)
    ask = f"SELECT count(*), count({column}), count(DISTINCT {column}) FROM read_parquet({text(str(path))})"
    try:
        row = connection.execute(ask).fetchone()
    except duckdb.BinderException as error:
        raise BadInput(f"{path.name} has no column {name}") from error
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise Infrastructure(f"the shape of {name} could not be read: {error}") from error
    rows, values, different = row if row is not None else (0, 0, 0)
    shape: Shape = "mixed"
    if values == 0:
        shape = "empty"
    elif different == 1 and values > 1:
        shape = "one"
    elif values > 1 and different >= NEARLY * values:
        shape = "distinct"
    return ColumnShape(nulls=rows - values, shape=shape)
