"""What the history shows, read back from the text of its observations; unreadable text is as good as absent."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from services.contracts.actions import Describe, Query
from services.contracts.policy import Exchange, Turn

_NAME = re.compile(r'"((?:[^"]|"")*)"|([^,\s"][^,"]*)')
_HEAD = re.compile(r"table .*\((\d+) rows?\)\Z")
_NUMERIC = re.compile(r"(?:U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|DOUBLE|FLOAT|REAL|DECIMAL|NUMERIC)\b", re.IGNORECASE)
_FIELD = re.compile(r'"((?:[^"]|"")*)"|([^,\n"]*)')
_MORE = re.compile(r"\(first \d+ of (more than )?(\d+) rows\)\Z")
_MANY = 10**6


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `position` counts from 0 in its table, `kind` is its type as it is shown."""

    table: str
    name: str
    numeric: bool
    position: int
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A described table."""

    name: str
    row_count: int
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The first column of that name."""
        return self._named.get(name)

    @cached_property
    def _named(self) -> dict[str, Column]:
        return {column.name: column for column in reversed(self.columns)}


@dataclass(frozen=True)
class Schema:
    """The tables described so far."""

    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        """The first table of that name."""
        return self._named.get(name)

    @cached_property
    def _named(self) -> dict[str, Table]:
        return {table.name: table for table in reversed(self.tables)}

    def columns(self) -> Iterator[Column]:
        """All columns, table by table."""
        for table in self.tables:
            yield from table.columns


@dataclass(frozen=True, slots=True)
class Outcome:
    """A query's result: the rows shown, and how many there are in all. A cell is None for NULL."""

    rows: tuple[tuple[str | None, ...], ...]
    total: int
    error: str = ""


@lru_cache(maxsize=1024)
def read_table_names(schema_info: str) -> tuple[str, ...]:
    """The names in `tables: a, "b c"`."""
    _, _, listed = schema_info.partition(":")
    found = (bare.strip() if bare else quoted.replace('""', '"') for quoted, bare in _NAME.findall(listed))
    return tuple(dict.fromkeys(name for name in found if name))


@lru_cache(maxsize=4096)
def read_csv(text: str) -> tuple[tuple[str | None, ...], ...]:
    """CSV records; a bare NULL is None, a quoted one is text."""
    records: list[tuple[str | None, ...]] = []
    record: list[str | None] = []
    position = 0
    while position <= len(text):
        found = _FIELD.match(text, position)
        if found is None:
            break
        quoted, bare = found[1], found[2]
        record.append(quoted.replace('""', '"') if quoted is not None else None if bare == "NULL" else bare)
        position = found.end() + 1
        if text[found.end() : position] != ",":
            records.append(tuple(record))
            record = []
    return tuple(records)


def is_numeric(kind: str) -> bool:
    """Whether a type, as DESCRIBE shows it, is one of numbers."""
    return bool(_NUMERIC.match(kind))


@lru_cache(maxsize=4096)
def read_description(name: str, text: str) -> Table | None:
    """The table that a DESCRIBE showed, or None."""
    head, _, body = text.partition("\n")
    found = _HEAD.match(head)
    rows = [(row[0], row[1] or "") for row in read_csv(body)[1:] if len(row) == 2 and row[0]]
    if found is None or not rows:
        return None
    columns = (Column(name, column, is_numeric(kind), i, kind) for i, (column, kind) in enumerate(rows))
    return Table(name, int(found[1][:12]), tuple(columns))


def read_schema(history: Sequence[Exchange]) -> Schema:
    """What every DESCRIBE so far has shown, in the order asked."""
    tables: dict[str, Table] = {}
    for exchange in history:
        if isinstance(exchange.action, Describe):
            table = read_description(exchange.action.table, exchange.observation.result)
            if table is not None:
                tables.setdefault(table.name, table)
    return Schema(tuple(tables.values()))


def described(turn: Turn) -> frozenset[str]:
    """The tables that a DESCRIBE was spent on, whatever came of it."""
    return frozenset(exchange.action.table for exchange in turn.history if isinstance(exchange.action, Describe))


@lru_cache(maxsize=4096)
def read_outcome(text: str, error: str) -> Outcome:
    """The outcome in a QUERY's observation."""
    if error:
        return Outcome((), 0, error)
    body, _, last = text.rpartition("\n")
    more = _MORE.match(last)
    if more is not None:
        return Outcome(read_csv(body)[1:], _MANY if more[1] else int(more[2][:12]))
    if last == "(no rows)":
        return Outcome((), 0)
    rows = read_csv(text)[1:]
    return Outcome(rows, len(rows))


def read_outcomes(history: Sequence[Exchange]) -> dict[str, Outcome]:
    """Every statement tried so far, with its outcome."""
    return {
        exchange.action.sql: read_outcome(exchange.observation.result, exchange.observation.error)
        for exchange in history
        if isinstance(exchange.action, Query)
    }
