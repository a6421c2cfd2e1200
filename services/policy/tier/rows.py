"""Rows: what of a candidate's features does not depend on the state, made once for each knowledge.

Invariant: a row is the same whenever it is made; what depends on the state is zero in it.
"""

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from services.policy.heuristic.cues import Kind
from services.policy.heuristic.reading import Column, Schema
from services.policy.tier.describing import (
    COLUMN,
    JOINING,
    TABLE,
    USE,
    VALUE,
    column_numbers,
    joining_numbers,
    table_numbers,
    value_numbers,
)
from services.policy.tier.frames import Frame, column_of
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import (
    COMPARISONS,
    FUNCTIONS,
    KINDS,
    SET_OPERATORS,
    Combine,
    Filter,
    Group,
    Having,
    Item,
    Join,
    Limit,
    Match,
    Nest,
    Operation,
    Order,
    Project,
    Ref,
    Scan,
)

OPERATORS = (*COMPARISONS, "in", "not in", *SET_OPERATORS)
FLAGS = ("distinct", "either", "descending", "outer", "counts rows", "limit")
AGREEMENTS = ("function is asked", "direction is asked", "planned", "planned next")
ROW: tuple[str, ...] = (
    *(f"kind {name}" for name in KINDS),
    *(f"operator {name}" for name in OPERATORS),
    *(f"function {name or 'none'}" for name in FUNCTIONS),
    *FLAGS, *AGREEMENTS,
    *(f"column {name}" for name in COLUMN),
    *(f"column {name}" for name in USE),
    *(f"table {name}" for name in TABLE),
    *(f"value {name}" for name in VALUE),
    *(f"join {name}" for name in JOINING),
)  # fmt: skip
OPERATION, REF, OWNER, VALUES = range(4)
"""Columns of the numbers that stand for a row's operation, its column, its table, and what it compares with."""
_ONE: dict[str, dict[str, int]] = {
    "kind": {name: i for i, name in enumerate(KINDS)},
    "operator": {name: i for i, name in enumerate(OPERATORS)},
    "function": {name: i for i, name in enumerate(FUNCTIONS)},
}
_OPERATOR_AT = len(KINDS)
_FUNCTION_AT = _OPERATOR_AT + len(OPERATORS)
_FLAGS_AT = _FUNCTION_AT + len(FUNCTIONS)
_COLUMN_AT = _FLAGS_AT + len(FLAGS) + len(AGREEMENTS)
_VALUE_AT = _COLUMN_AT + len(COLUMN) + len(USE) + len(TABLE)
_JOINING_AT = _VALUE_AT + len(VALUE)
Asked = frozenset[tuple[Kind, str]]
_NONE: Asked = frozenset()
_ASKING: dict[str, Asked] = {
    "count": frozenset(((Kind.COUNT, ""), (Kind.FREQUENT, ""))),
    "avg": frozenset(((Kind.AGGREGATE, "avg"),)),
    "sum": frozenset(((Kind.AGGREGATE, "sum"),)),
    "max": frozenset(((Kind.SUPERLATIVE, "desc"),)),
    "min": frozenset(((Kind.SUPERLATIVE, "asc"),)),
}
_DIRECTION: dict[bool, Asked] = {
    True: frozenset(((Kind.SUPERLATIVE, "desc"), (Kind.FREQUENT, "most"))),
    False: frozenset(((Kind.SUPERLATIVE, "asc"), (Kind.FREQUENT, "least"))),
}
_USE = (0.0,) * len(USE)
_FIRST = 256
Numbers = NDArray[np.int64]


class Rows:
    """The rows of one knowledge, by operation and by the tables that it refers to."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._asked: Asked = frozenset(
            asked for cue in knowledge.cues for asked in ((cue.kind, cue.value), (cue.kind, ""))
        )
        self._by_sources: dict[tuple[str, ...], dict[Hashable, int]] = {}
        self._by_tables: dict[Hashable, int] = {}
        self._numbered: dict[Hashable, int] = {}
        self._vectors = np.zeros((_FIRST, len(ROW)), np.float32)
        self._numbers = np.zeros((_FIRST, 4), np.int64)
        self._blocks: dict[tuple[Column | None, str], NDArray[np.float32]] = {}
        self._lock = Lock()

    def of(self, operations: Sequence[Operation], frame: Frame) -> tuple[NDArray[np.float32], Numbers]:
        """Fresh rows of ROW, and what their operation, column, table and values are numbered, one each."""
        known = self._by_sources.setdefault(tuple(source.table for source in frame.sources), {})
        found = [known.get(_key(operation)) for operation in operations]
        places = [
            self._added(operation, frame, known) if place is None else place
            for operation, place in zip(operations, found, strict=True)
        ]
        chosen = np.array(places, np.int64)
        return self._vectors[chosen], self._numbers[chosen]

    def number(self, thing: Hashable) -> int:
        """What stands for an operation, a column, a table's name or values in the rows made so far; -1 if nothing."""
        return self._numbered.get(thing, -1)

    def _added(self, operation: Operation, frame: Frame, known: dict[Hashable, int]) -> int:
        key = (_key(operation), *_tables(operation, frame))
        with self._lock:
            place = self._by_tables.get(key)
            if place is None:
                place = self._by_tables[key] = self._made(len(self._by_tables), operation, frame)
            known[_key(operation)] = place
        return place

    def _made(self, place: int, operation: Operation, frame: Frame) -> int:
        if place == len(self._vectors):
            self._vectors = np.concatenate((self._vectors, np.zeros_like(self._vectors)))
            self._numbers = np.concatenate((self._numbers, np.zeros_like(self._numbers)))
        ref = ref_of(operation)
        column = column_of(frame, ref, self._knowledge.schema) if ref is not None else None
        owner = operation.table if isinstance(operation, Scan | Join) else column.table if column is not None else ""
        row = self._vectors[place]
        _one_hots(row, operation)
        row[_FLAGS_AT:_COLUMN_AT] = (*_flags(operation), *_agreements(operation, self._asked), 0.0, 0.0)
        row[_COLUMN_AT:_VALUE_AT] = self._named(column, owner)
        _compare(row, operation, column, frame, self._knowledge)
        things: tuple[Hashable, ...] = (operation, ref, owner, getattr(operation, "values", ()))
        self._numbers[place] = [self._numbered.setdefault(thing, len(self._numbered)) for thing in things]
        return place

    def _named(self, column: Column | None, owner: str) -> NDArray[np.float32]:
        """The blocks on column, its use, and table; zeros for what is not named."""
        block = self._blocks.get((column, owner))
        if block is None:
            table = self._knowledge.schema.table(owner)
            numbers = (*column_numbers(column, self._knowledge), *_USE, *table_numbers(table, self._knowledge))
            block = self._blocks[column, owner] = np.array(numbers, np.float32)
        return block


@lru_cache(maxsize=32)
def rows_of(knowledge: Knowledge) -> Rows:
    """The rows of a knowledge; as many are kept as episodes are played at once."""
    return Rows(knowledge)


def ref_of(operation: Operation) -> Ref | None:
    """The column that the operation is about; the left one of a join or a match."""
    match operation:
        case Filter() | Match() | Group():
            return operation.ref
        case Join():
            return operation.left
        case _:
            item = _item(operation)
            return item.ref if item is not None else None


def _key(operation: Operation) -> Hashable:
    """Operations of one key have one row; 1 and 1.0 are equal, but not as the question writes them."""
    written = isinstance(operation, Filter | Having) and operation.values and isinstance(operation.values[0], float)
    return (operation, "float") if written else operation


def _tables(operation: Operation, frame: Frame) -> tuple[str, ...]:
    """The tables that the operation's references are to."""
    refs = (ref_of(operation), operation.other if isinstance(operation, Match) else None)
    sources = frame.sources
    return tuple(sources[ref.source].table for ref in refs if ref is not None and 0 <= ref.source < len(sources))


def _one_hots(row: NDArray[np.float32], operation: Operation) -> None:
    row[_ONE["kind"][operation.kind]] = 1.0
    if isinstance(operation, Filter | Having | Match | Nest | Combine):
        row[_OPERATOR_AT + _ONE["operator"][operation.operator]] = 1.0
    item = _item(operation)
    if item is not None:
        row[_FUNCTION_AT + _ONE["function"][item.function]] = 1.0


def _item(operation: Operation) -> Item | None:
    return operation.item if isinstance(operation, Project | Order | Having | Nest) else None


def _flags(operation: Operation) -> tuple[float, ...]:
    item = _item(operation)
    return (
        item is not None and item.distinct,
        isinstance(operation, Filter | Having | Match | Nest) and operation.either,
        isinstance(operation, Order) and operation.descending,
        isinstance(operation, Join) and operation.outer,
        item is not None and item.ref is None,
        min(math.log1p(operation.count) / 5, 1.0) if isinstance(operation, Limit) else 0.0,
    )


def _agreements(operation: Operation, asked: Asked) -> tuple[float, float]:
    """Whether a cue of the question asks for the function, and for the direction."""
    item = _item(operation)
    if item is None:
        return 0.0, 0.0
    wanted = not _ASKING.get(item.function, _NONE).isdisjoint(asked)
    direction = isinstance(operation, Order) and not _DIRECTION[operation.descending].isdisjoint(asked)
    return float(wanted), float(direction)


def _compare(
    row: NDArray[np.float32], operation: Operation, column: Column | None, frame: Frame, knowledge: Knowledge
) -> None:
    """Fill the blocks on value and join, where the operation has them."""
    if isinstance(operation, Filter | Having):
        row[_VALUE_AT:_JOINING_AT] = value_numbers(operation, column, knowledge)
    elif isinstance(operation, Join | Match):
        row[_JOINING_AT:] = joining_numbers(column, _second(operation, frame, knowledge.schema), knowledge)


def _second(operation: Join | Match, frame: Frame, schema: Schema) -> Column | None:
    """The other column of the comparison."""
    if isinstance(operation, Match):
        return column_of(frame, operation.other, schema)
    table = schema.table(operation.table)
    return table.column(operation.column) if table is not None else None
