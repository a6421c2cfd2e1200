"""Frames: the partial query that operations have built so far. A state is a stack of them, the innermost last.

Invariant: states are only made by `state.py`, so that every frame refers to sources that it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from services.policy.heuristic.reading import Column, Schema, Table
from services.policy.tier.operations import (
    Arithmetic,
    Comparison,
    Item,
    Membership,
    Operations,
    Ref,
    Scalar,
    SetOperator,
)

NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Source:
    """A table in the frame, and by what it is joined; the first has no condition."""

    table: str
    left: Ref | None = None
    column: str = ""
    outer: bool = False


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of an item: with values, with another column, or with a whole sub-query."""

    item: Item
    operator: Comparison | Membership
    values: tuple[Scalar, ...] = ()
    other: Ref | None = None
    query: "Frame | None" = None


Clause = tuple[Test, ...]
"""Alternatives, of which one has to hold."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One column of the result."""

    item: Item
    operator: Arithmetic | None = None
    other: Item | None = None

    @property
    def items(self) -> tuple[Item, ...]:
        """What it is made of."""
        return (self.item,) if self.other is None else (self.item, self.other)


@dataclass(frozen=True, slots=True)
class Frame:
    """One SELECT, and the queries before it that it is combined with. `stage` is how far it has come."""

    before: "tuple[Frame, SetOperator] | None" = None
    sources: tuple[Source, ...] = ()
    where: tuple[Clause, ...] = ()
    group: tuple[Ref, ...] = ()
    having: tuple[Clause, ...] = ()
    shown: tuple[Shown, ...] = ()
    distinct: bool = False
    order: tuple[tuple[Item, bool], ...] = ()
    limit: int = 0
    stage: int = 0

    @property
    def grouped(self) -> bool:
        """Whether its rows stand for groups of rows."""
        items = (*(part for one in self.shown for part in one.items), *(item for item, _ in self.order))
        return bool(self.group or self.having) or any(item.function for item in items)


@dataclass(frozen=True, slots=True)
class Pending:
    """A comparison that waits for its sub-query, by which the clause before may be met instead."""

    item: Item
    operator: Membership
    either: bool


@dataclass(frozen=True, slots=True)
class State:
    """The frames from outside in, what each inner one is wanted for, and the operations that led here.

    It is over after a submission.
    """

    frames: tuple[Frame, ...] = (Frame(),)
    pending: tuple[Pending, ...] = ()
    over: bool = False
    taken: Operations = ()

    @property
    def frame(self) -> Frame:
        """The frame that is being built."""
        return self.frames[-1]


def table_of(frame: Frame, ref: Ref, schema: Schema) -> Table | None:
    """The table that the reference is to."""
    return schema.table(frame.sources[ref.source].table) if 0 <= ref.source < len(frame.sources) else None


def column_of(frame: Frame, ref: Ref, schema: Schema) -> Column | None:
    """The column that the reference is to; None if the frame has none such."""
    table = table_of(frame, ref, schema)
    return None if table is None else table.column(ref.column)


def kind_of(column: Column) -> str:
    """What the column holds: numbers, or a type by its name."""
    return NUMBER if column.numeric else column.kind


def item_kind(frame: Frame, item: Item, schema: Schema) -> str:
    """What the item's values are."""
    if item.ref is None or item.function in ("count", "sum", "avg"):
        return NUMBER
    column = column_of(frame, item.ref, schema)
    return "" if column is None else kind_of(column)


def result_kinds(frame: Frame, schema: Schema) -> tuple[str, ...]:
    """What each column of the frame's result holds."""
    if frame.shown:
        return tuple(NUMBER if one.other is not None else item_kind(frame, one.item, schema) for one in frame.shown)
    return tuple(item_kind(frame, Item(ref), schema) for ref in frame.group or all_refs(frame, schema))


def all_refs(frame: Frame, schema: Schema) -> tuple[Ref, ...]:
    """Every column of the frame's sources."""
    tables = ((number, schema.table(source.table)) for number, source in enumerate(frame.sources))
    return tuple(Ref(number, column.name) for number, table in tables if table is not None for column in table.columns)


def width(frame: Frame, schema: Schema) -> int:
    """How many columns the frame's result has."""
    if frame.shown or frame.group:
        return len(frame.shown or frame.group)
    tables = (schema.table(source.table) for source in frame.sources)
    return sum(len(table.columns) for table in tables if table is not None)


def frames_within(frame: Frame) -> Iterator[Frame]:
    """The frame and all within it, from outside in."""
    yield frame
    if frame.before is not None:
        yield from frames_within(frame.before[0])
    for clause in (*frame.where, *frame.having):
        for test in clause:
            if test.query is not None:
                yield from frames_within(test.query)
