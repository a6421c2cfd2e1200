"""What a built-in job is: tables told by expressions over a row number, statements, and rewrites; all frozen."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.contracts.etl import Contract, Mode, TableColumn

_DAYS = ("2024-02-29", "2024-03-01", "2024-03-31", "2024-12-31", "2025-03-01")
_MOMENTS = (
    "2024-02-29 23:59:59.999999", "2024-03-01 00:00:00", "2024-03-15 12:00:00", "2024-03-31 23:59:59.5",
    "2024-04-01 00:00:00", "2025-03-01 00:00:00",
)  # fmt: skip
_POOLS: Mapping[str, tuple[str, ...]] = {
    "INTEGER": ("0", "1", "2", "3", "-1", "NULL"),
    "BIGINT": ("0", "1", "2", "3", "-1", "NULL"),
    "VARCHAR": ("'a'", "'b'", "'A'", "' a'", "''", "NULL"),
    "DATE": (*(f"DATE '{day}'" for day in _DAYS), "NULL"),
    "TIMESTAMP": (*(f"TIMESTAMP '{moment}'" for moment in _MOMENTS), "NULL"),
    "BOOLEAN": ("true", "false", "NULL"),
    "DECIMAL(10,2)": ("0", "1.25", "-3.10", "100", "NULL"),
}

NOTHING_DECLARED = Contract()


@dataclass(frozen=True)
class Col:
    """A column: how row `i` has it, and the literals that small random tables draw from (by type, unless given).

    In `sql`, {seed} is the seed and {TABLE} the number of rows of that table of the job.
    """

    name: str
    type: str
    sql: str
    pool: tuple[str, ...] = ()

    @property
    def literals(self) -> tuple[str, ...]:
        """What a random table may hold here."""
        return self.pool or _POOLS[self.type]


@dataclass(frozen=True)
class TableSpec:
    """A source; `rows` is its number of rows at the medium scale."""

    name: str
    rows: int
    columns: tuple[Col, ...]
    fixed: bool = False  # the same number of rows at every scale

    @property
    def shape(self) -> tuple[TableColumn, ...]:
        """Names and types."""
        return tuple(TableColumn(name=column.name, type=column.type) for column in self.columns)


@dataclass(frozen=True)
class JobSpec:
    """A job with a rewrite that is right; a trap also has one that looks right and is wrong."""

    task_key: str
    question: str
    statements: tuple[str, ...]
    tables: tuple[TableSpec, ...]
    right: tuple[str, ...]
    contract: Contract = NOTHING_DECLARED
    wrong: tuple[str, ...] = ()
    output: str = "result"
    mode: Mode = "create"
    before: str = ""  # of an incremental job: the query whose rows the output held before
    touched: tuple[str, ...] = ()

    @property
    def is_trap(self) -> bool:
        """Whether it ships a wrong rewrite."""
        return bool(self.wrong)


def draw(number: int, among: int) -> str:
    """A whole number below `among` that follows from the seed, the row and the number of the draw."""
    return f"(hash(i, {{seed}}, {number}) % {among})::INTEGER"


def pick(number: int, words: str) -> str:
    """One of the words."""
    listed = words.split()
    return "[" + ", ".join(f"'{word}'" for word in listed) + f"][1 + {draw(number, len(listed))}]"


def one_of(words: str, null: bool = True) -> tuple[str, ...]:
    """The pool of these words."""
    return (*(f"'{word}'" for word in words.split()), *(("NULL",) if null else ()))
