"""What a built-in database is: tables of rows and the questions asked about them, all frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from services.contracts.tasks import Difficulty

AnswerType = Literal["integer", "float", "string", "list", "table"]


@dataclass(frozen=True)
class TableData:
    """One table. Foreign keys are declared, never enforced: some rows point nowhere on purpose."""

    name: str
    columns: tuple[tuple[str, str], ...]  # (name, DuckDB type)
    rows: tuple[tuple[object, ...], ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[tuple[str, str, str], ...] = ()  # (column, other table, other column)


@dataclass(frozen=True)
class QuestionSpec:
    """A question and the DuckDB SQL that answers it; `ordered` means the order of the rows counts."""

    question: str
    gold_sql: str
    answer_type: AnswerType
    difficulty: Difficulty
    ordered: bool = False


@dataclass(frozen=True)
class Domain:
    """One database and its questions."""

    name: str
    tables: tuple[TableData, ...]
    questions: tuple[QuestionSpec, ...]


@dataclass(frozen=True)
class Column:
    """A column before its table exists: name, DuckDB type and one value per row."""

    name: str
    type: str
    values: Sequence[object]


def table_of(
    name: str,
    columns: Sequence[Column],
    primary_key: tuple[str, ...] = (),
    foreign_keys: tuple[tuple[str, str, str], ...] = (),
) -> TableData:
    """Turns columns of equal length into a table; ValueError if their lengths differ."""
    rows = tuple(zip(*(column.values for column in columns), strict=True))
    return TableData(name, tuple((column.name, column.type) for column in columns), rows, primary_key, foreign_keys)
