"""Features: each candidate and each state as numbers, for a policy that scores candidates over any schema.

Invariant: every number comes from what an agent may see. All are finite; most lie in [-1, 1]. docs/tier.md lists them.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.policy.heuristic.cues import Kind
from services.policy.heuristic.reading import Column, Outcome
from services.policy.tier.describing import (
    COLUMN,
    JOINING,
    TABLE,
    USE,
    VALUE,
    column_numbers,
    joining_numbers,
    table_numbers,
    use_numbers,
    value_numbers,
)
from services.policy.tier.frames import State, column_of
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
from services.policy.tier.state import LIMIT

OPERATORS = (*COMPARISONS, "in", "not in", *SET_OPERATORS)
STAGES = ("begin", "join", "filter", "group", "having", "project", "distinct", "order", "limit")
_FLAGS = ("distinct", "either", "descending", "outer", "counts rows", "limit")
_AGREEMENTS = ("function is asked", "direction is asked", "planned", "planned next")
CANDIDATE_FEATURES: tuple[str, ...] = (
    *(f"kind {name}" for name in KINDS),
    *(f"operator {name}" for name in OPERATORS),
    *(f"function {name or 'none'}" for name in FUNCTIONS),
    *_FLAGS, *_AGREEMENTS,
    *(f"column {name}" for name in COLUMN),
    *(f"column {name}" for name in USE),
    *(f"table {name}" for name in TABLE),
    *(f"value {name}" for name in VALUE),
    *(f"join {name}" for name in JOINING),
)  # fmt: skip
STATE_FEATURES: tuple[str, ...] = (
    *(f"stage {name}" for name in STAGES),
    "depth", "combined", "sources", "conditions", "groups", "bounds", "shown", "orders", "distinct", "limited",
    "operations", "result known", "result failed", "result empty", "result one row", "result rows", "result columns",
    "steps left", "words", "numbers", "cells", "tables", "planned", "follows the plan",
    *(f"asks {kind.name.lower()}" for kind in Kind),
)  # fmt: skip
HIGHEST = 4.0
"""Of a feature as a policy gets it; the lowest is -HIGHEST."""
Vectors = NDArray[np.float32]
_ONE: dict[str, dict[str, int]] = {
    "kind": {name: i for i, name in enumerate(KINDS)},
    "operator": {name: i for i, name in enumerate(OPERATORS)},
    "function": {name: i for i, name in enumerate(FUNCTIONS)},
}
_OPERATOR_AT = len(KINDS)
_FUNCTION_AT = _OPERATOR_AT + len(OPERATORS)
_REST_AT = _FUNCTION_AT + len(FUNCTIONS)


def candidate_features(state: State, knowledge: Knowledge, candidates: Sequence[Operation]) -> Vectors:
    """One row of CANDIDATE_FEATURES for each candidate, float32."""
    vectors = np.zeros((len(candidates), len(CANDIDATE_FEATURES)), np.float32)
    planned = _planned_next(state, knowledge)
    left = frozenset(knowledge.plan).difference(state.taken)
    asked = frozenset((cue.kind, cue.value) for cue in knowledge.cues)
    blocks: dict[tuple[Ref | None, str], tuple[float, ...]] = {}
    for row, operation in zip(vectors, candidates, strict=True):
        _one_hots(row, operation)
        ref = _ref(operation)
        named = (ref, operation.table if isinstance(operation, Scan | Join) else "")
        if named not in blocks:
            blocks[named] = _named(*named, state, knowledge)
        agreed = (*_agreements(operation, asked), operation in left, operation == planned)
        compared = _compared(operation, ref, state, knowledge)
        row[_REST_AT:] = (*_flags(operation), *agreed, *blocks[named], *compared)
    return vectors


def state_features(state: State, knowledge: Knowledge, result: Outcome | None, steps_left: int) -> Vectors:
    """STATE_FEATURES as one row, float32. `result` is what the latest partial result showed, if it was asked for."""
    frame = state.frame
    stage = [0.0] * len(STAGES)
    stage[min(frame.stage, LIMIT)] = 1.0
    counts = (len(state.frames) - 1, frame.before is not None, len(frame.sources), len(frame.where), len(frame.group),
              len(frame.having), len(frame.shown), len(frame.order), frame.distinct, frame.limit > 0,
              len(state.taken))  # fmt: skip
    asked = {cue.kind for cue in knowledge.cues}
    return np.array(
        (
            *stage,
            *(min(count / 4, 4.0) for count in counts),
            *_result(result),
            min(steps_left / 15, 4.0),
            min(len(knowledge.words) / 30, 4.0),
            min(len(knowledge.numbers) / 4, 4.0),
            min(len(knowledge.hits) / 8, 4.0),
            min(len(knowledge.schema.tables) / 8, 4.0),
            bool(knowledge.plan),
            _planned_next(state, knowledge) is not None,
            *(kind in asked for kind in Kind),
        ),
        np.float32,
    )


def clipped(vectors: Vectors) -> Vectors:
    """The features as a policy gets them, in training and in play."""
    return np.clip(vectors, -HIGHEST, HIGHEST)


def _result(result: Outcome | None) -> tuple[float, ...]:
    if result is None:
        return (0.0,) * 6
    columns = len(result.rows[0]) if result.rows else 0
    empty = not result.rows and not result.error
    size = math.log1p(result.total) / 8
    return (1.0, bool(result.error), empty, result.total == 1, size, min(columns / 8, 4.0))


def _planned_next(state: State, knowledge: Knowledge) -> Operation | None:
    """What the heuristic would do next, if everything so far is as it would have done."""
    done = len(state.taken)
    follows = knowledge.plan[:done] == state.taken and done < len(knowledge.plan)
    return knowledge.plan[done] if follows else None


def _one_hots(row: Vectors, operation: Operation) -> None:
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


def _agreements(operation: Operation, asked: frozenset[tuple[Kind, str]]) -> tuple[float, float]:
    """Whether a cue of the question asks for the function, and for the direction."""
    item = _item(operation)
    if item is None:
        return 0.0, 0.0
    wanted = {
        "count": any(kind in (Kind.COUNT, Kind.FREQUENT) for kind, _ in asked),
        "avg": (Kind.AGGREGATE, "avg") in asked,
        "sum": (Kind.AGGREGATE, "sum") in asked,
        "max": (Kind.SUPERLATIVE, "desc") in asked,
        "min": (Kind.SUPERLATIVE, "asc") in asked,
    }.get(item.function, False)
    direction = False
    if isinstance(operation, Order):
        most = (Kind.SUPERLATIVE, "desc") in asked or (Kind.FREQUENT, "most") in asked
        least = (Kind.SUPERLATIVE, "asc") in asked or (Kind.FREQUENT, "least") in asked
        direction = most if operation.descending else least
    return float(wanted), float(direction)


def _named(ref: Ref | None, table: str, state: State, knowledge: Knowledge) -> tuple[float, ...]:
    """The blocks on column and table; zeros for what is not named."""
    column = column_of(state.frame, ref, knowledge.schema) if ref is not None else None
    owner = knowledge.schema.table(table or (column.table if column is not None else ""))
    return (
        *column_numbers(column, knowledge),
        *use_numbers(ref, state.frame),
        *table_numbers(owner, state.frame, knowledge),
    )


def _compared(operation: Operation, ref: Ref | None, state: State, knowledge: Knowledge) -> tuple[float, ...]:
    """The blocks on value and join; zeros for what the operation lacks."""
    column = column_of(state.frame, ref, knowledge.schema) if ref is not None else None
    if isinstance(operation, Filter | Having):
        return (*value_numbers(operation, column, state, knowledge), *(0.0,) * len(JOINING))
    if isinstance(operation, Join | Match):
        return (*(0.0,) * len(VALUE), *joining_numbers(column, _second(operation, state, knowledge), knowledge))
    return (0.0,) * (len(VALUE) + len(JOINING))


def _second(operation: Join | Match, state: State, knowledge: Knowledge) -> Column | None:
    """The other column of the comparison."""
    if isinstance(operation, Match):
        return column_of(state.frame, operation.other, knowledge.schema)
    table = knowledge.schema.table(operation.table)
    return next((one for one in table.columns if one.name == operation.column), None) if table is not None else None


def _ref(operation: Operation) -> Ref | None:
    match operation:
        case Filter() | Match() | Group():
            return operation.ref
        case Join():
            return operation.left
        case _:
            item = _item(operation)
            return item.ref if item is not None else None
