"""The state machine: which operation is legal in a state, and the state that it leads to.

Invariant: a frame's operations come in the order scan, join, filter, group, having, project, distinct, order, limit, so
that a query has one way to be built but for the order of its likes; what is legal runs, and leads to no dead end.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from services.policy.heuristic.reading import Schema
from services.policy.tier.frames import Clause, Frame, Pending, Shown, Source, State, Test, column_of, width
from services.policy.tier.operations import (
    Close,
    Combine,
    Distinct,
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
    Scan,
    Submit,
)

SCAN, JOIN, FILTER, GROUP, HAVING, PROJECT, DISTINCT, ORDER, LIMIT = range(9)
MOST_SOURCES = 6
MOST_FRAMES = 4
MOST_SHOWN = 12
MOST_COMBINED = 8
"""Columns of queries that can be combined: every table has as many items."""
_ARITY = {"between": 2, "is null": 0, "is not null": 0}


class IllegalOperation(ValueError):
    """The operation is not legal in this state."""


def run(operations: Iterable[Operation], schema: Schema) -> State:
    """The state after the operations. Raises IllegalOperation."""
    state = State()
    for operation in operations:
        state = step(state, operation, schema)
    return state


def step(state: State, operation: Operation, schema: Schema) -> State:
    """The state after one operation. Raises IllegalOperation."""
    if not is_legal(state, operation, schema):
        raise IllegalOperation(f"{operation.kind} is not legal here")
    return after(state, operation)


def is_legal(state: State, operation: Operation, schema: Schema) -> bool:
    """Whether the operation may follow: its place in the order, its columns, its types."""
    frame = state.frame
    begun = bool(frame.sources) or isinstance(operation, Scan)
    if state.over or not begun or stage_of(operation) < frame.stage:
        return False
    if _is_either(operation) and not (frame.having if stage_of(operation) == HAVING else frame.where):
        return False
    match operation:
        case Scan():
            return schema.table(operation.table) is not None and len(frame.sources) < MOST_SOURCES
        case Join():
            return _may_join(frame, operation, schema)
        case Filter():
            return _compares(frame, Item(operation.ref), operation, schema)
        case Match():
            known = all(column_of(frame, ref, schema) for ref in (operation.ref, operation.other))
            return known and operation.ref != operation.other
        case Nest():
            return _may_nest(state, operation, schema)
        case Close():
            return len(state.frames) > 1 and _fits(state, schema)
        case Group():
            return column_of(frame, operation.ref, schema) is not None and operation.ref not in frame.group
        case Having():
            return bool(operation.item.function and frame.group) and _compares(frame, operation.item, operation, schema)
        case Project():
            return _may_project(state, operation, schema)
        case Distinct():
            return not frame.distinct and _fits(state, schema)
        case Order():
            return _may_order(frame, operation.item, schema) and _fits(state, schema)
        case Limit():
            return operation.count > 0 and not frame.limit and _fits(state, schema)
        case Combine():
            return (
                not frame.order and not frame.limit and _fits(state, schema) and width(frame, schema) <= MOST_COMBINED
            )
        case Submit():
            return len(state.frames) == 1 and _fits(state, schema)
        case _:
            assert_never(operation)


def stage_of(operation: Operation) -> int:
    """The place of the operation in its frame's order; one that ends a frame may come at any stage."""
    match operation:
        case Scan() | Join():
            return JOIN
        case Filter() | Match():
            return FILTER
        case Nest():
            return HAVING if operation.item.function else FILTER
        case Group():
            return GROUP
        case Having():
            return HAVING
        case Project():
            return PROJECT
        case Distinct():
            return DISTINCT
        case Order():
            return ORDER
        case Limit() | Close() | Combine() | Submit():
            return LIMIT
        case _:
            assert_never(operation)


def after(state: State, operation: Operation) -> State:
    """The state after an operation that is legal."""
    frame, state = state.frame, replace(state, taken=(*state.taken, operation))
    match operation:
        case Nest():
            pending = Pending(operation.item, operation.operator, operation.either)
            return replace(state, frames=(*state.frames, Frame()), pending=(*state.pending, pending))
        case Close():
            return _closed(state)
        case Combine():
            return replace(state, frames=(*state.frames[:-1], Frame(before=(frame, operation.operator))))
        case Submit():
            return replace(state, over=True)
        case _:
            changed = replace(_changed(frame, operation), stage=stage_of(operation))
            return replace(state, frames=(*state.frames[:-1], changed))


def _changed(frame: Frame, operation: Operation) -> Frame:
    """The frame after an operation within it."""
    match operation:
        case Scan():
            return replace(frame, sources=(*frame.sources, Source(operation.table)))
        case Join():
            source = Source(operation.table, operation.left, operation.column, operation.outer)
            return replace(frame, sources=(*frame.sources, source))
        case Filter():
            test = Test(Item(operation.ref), operation.operator, operation.values)
            return replace(frame, where=_with(frame.where, test, operation.either))
        case Match():
            test = Test(Item(operation.ref), operation.operator, other=operation.other)
            return replace(frame, where=_with(frame.where, test, operation.either))
        case Group():
            return replace(frame, group=(*frame.group, operation.ref))
        case Having():
            test = Test(operation.item, operation.operator, operation.values)
            return replace(frame, having=_with(frame.having, test, operation.either))
        case Project():
            shown = Shown(operation.item, operation.operator or None, operation.other)
            return replace(frame, shown=(*frame.shown, shown))
        case Distinct():
            return replace(frame, distinct=True)
        case Order():
            return replace(frame, order=(*frame.order, (operation.item, operation.descending)))
        case Limit():
            return replace(frame, limit=operation.count)
        case _:
            raise IllegalOperation(f"{operation.kind} is not of one frame")


def _with(clauses: tuple[Clause, ...], test: Test, either: bool) -> tuple[Clause, ...]:
    return (*clauses[:-1], (*clauses[-1], test)) if either else (*clauses, (test,))


def _closed(state: State) -> State:
    outer, wanted = state.frames[-2], state.pending[-1]
    test = Test(wanted.item, wanted.operator, query=state.frame)
    if wanted.item.function:
        outer = replace(outer, having=_with(outer.having, test, wanted.either), stage=HAVING)
    else:
        outer = replace(outer, where=_with(outer.where, test, wanted.either), stage=FILTER)
    return replace(state, frames=(*state.frames[:-2], outer), pending=state.pending[:-1])


def _may_join(frame: Frame, join: Join, schema: Schema) -> bool:
    table = schema.table(join.table)
    known = table is not None and table.column(join.column) is not None
    return known and column_of(frame, join.left, schema) is not None and len(frame.sources) < MOST_SOURCES


def _known(frame: Frame, item: Item, schema: Schema) -> bool:
    """Whether the item is of the frame; only rows and columns can be counted, only columns computed with."""
    if item.ref is None:
        return item.function == "count" and not item.distinct
    return column_of(frame, item.ref, schema) is not None and (bool(item.function) or not item.distinct)


def _is_either(operation: Operation) -> bool:
    return isinstance(operation, Filter | Match | Nest | Having) and operation.either


def _compares(frame: Frame, item: Item, test: Filter | Having, schema: Schema) -> bool:
    return _known(frame, item, schema) and len(test.values) == _ARITY.get(test.operator, 1)


def _may_nest(state: State, nest: Nest, schema: Schema) -> bool:
    grouped = bool(state.frame.group) or not nest.item.function
    return grouped and _known(state.frame, nest.item, schema) and len(state.frames) < MOST_FRAMES


def _may_project(state: State, project: Project, schema: Schema) -> bool:
    frame, most = state.frame, _width_asked(state, schema) or MOST_SHOWN
    if bool(project.operator) != (project.other is not None) or len(frame.shown) >= most:
        return False
    shown = Shown(project.item, project.operator or None, project.other)
    return all(_known(frame, item, schema) for item in shown.items) and shown not in frame.shown


def _may_order(frame: Frame, item: Item, schema: Schema) -> bool:
    """Combined queries can be ordered by what they show only."""
    if any(item == other for other, _ in frame.order) or not _known(frame, item, schema):
        return False
    if item.function and not (frame.grouped and (frame.shown or frame.group)):
        return False
    return frame.before is None or Shown(item) in frame.shown


def _width_asked(state: State, schema: Schema) -> int:
    """How many columns the frame has to show: a sub-query one, combined queries as many as each other; 0 for any."""
    frame = state.frame
    if frame.before is not None:
        return width(frame.before[0], schema)
    return 1 if len(state.frames) > 1 else 0


def _fits(state: State, schema: Schema) -> bool:
    """Whether the frame, as it stands, is a query that shows as many columns as it has to."""
    asked = _width_asked(state, schema)
    return bool(state.frame.sources) and asked in (0, width(state.frame, schema))
