"""Features: each candidate and each state as numbers, for a policy that scores candidates over any schema.

Invariant: every number comes from what an agent may see. All are finite; most lie in [-1, 1]. docs/tier.md lists them.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from services.policy.heuristic.cues import Kind
from services.policy.heuristic.reading import Outcome
from services.policy.tier.coverage import coverage, used_refs
from services.policy.tier.describing import USE, use_numbers
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Operation, Ref, Scalar
from services.policy.tier.rows import OPERATION, OWNER, REF, ROW, VALUES, rows_of
from services.policy.tier.state import LIMIT

STAGES = ("begin", "join", "filter", "group", "having", "project", "distinct", "order", "limit")
CANDIDATE_FEATURES: tuple[str, ...] = ROW
STATE_FEATURES: tuple[str, ...] = (
    *(f"stage {name}" for name in STAGES),
    "depth", "combined", "sources", "conditions", "groups", "bounds", "shown", "orders", "distinct", "limited",
    "operations", "result known", "result failed", "result empty", "result one row", "result rows", "result columns",
    "steps left", "words", "numbers", "cells", "tables", "planned", "follows the plan",
    "mentions left", "cells left", "numbers left", "tables left",
    *(f"asks {kind.name.lower()}" for kind in Kind),
)  # fmt: skip
HIGHEST = 4.0
"""Of a feature as a policy gets it; the lowest is -HIGHEST."""
Vectors = NDArray[np.float32]
_PLANNED, _PLANNED_NEXT = ROW.index("planned"), ROW.index("planned next")
_USE_AT = ROW.index(f"column {USE[0]}")
_TAKEN_UP = _USE_AT + USE.index("words taken up")
_IN_FRAME, _USED = ROW.index("table in the frame"), ROW.index("value used")


def candidate_features(state: State, knowledge: Knowledge, candidates: Sequence[Operation]) -> Vectors:
    """One row of CANDIDATE_FEATURES for each candidate, float32."""
    rows, frame = rows_of(knowledge), state.frame
    vectors, numbers = rows.of(candidates, frame)
    planned = _planned_next(state, knowledge)
    if planned is not None:
        vectors[numbers[:, OPERATION] == rows.number(planned), _PLANNED_NEXT] = 1.0
    for operation in frozenset(knowledge.plan).difference(state.taken):
        vectors[numbers[:, OPERATION] == rows.number(operation), _PLANNED] = 1.0
    for ref in dict.fromkeys(used_refs(frame)):
        vectors[numbers[:, REF] == rows.number(ref), _USE_AT : _USE_AT + len(USE)] = use_numbers(ref, frame)
    tables = [source.table for source in frame.sources]
    for column in {column for mention in coverage(state, knowledge).covered for column in mention.columns}:
        for source, table in enumerate(tables):
            if table == column.table:
                vectors[numbers[:, REF] == rows.number(Ref(source, column.name)), _TAKEN_UP] = 1.0
    for table in dict.fromkeys(tables):
        vectors[numbers[:, OWNER] == rows.number(table), _IN_FRAME] = tables.count(table) / 2
    for values in dict.fromkeys(_used_values(state)):
        vectors[numbers[:, VALUES] == rows.number(values), _USED] = 1.0
    return vectors


def _used_values(state: State) -> Iterator[tuple[Scalar, ...]]:
    """What the conditions so far compare with."""
    for frame in state.frames:
        yield from (test.values for clause in (*frame.where, *frame.having) for test in clause if test.values)


def state_features(state: State, knowledge: Knowledge, result: Outcome | None, steps_left: int) -> Vectors:
    """STATE_FEATURES as one row, float32. `result` is what the latest partial result showed, if it was asked for."""
    frame = state.frame
    stage = [0.0] * len(STAGES)
    stage[min(frame.stage, LIMIT)] = 1.0
    counts = (len(state.frames) - 1, frame.before is not None, len(frame.sources), len(frame.where), len(frame.group),
              len(frame.having), len(frame.shown), len(frame.order), frame.distinct, frame.limit > 0,
              len(state.taken))  # fmt: skip
    asked, taken = {cue.kind for cue in knowledge.cues}, coverage(state, knowledge)
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
            *(min(count / 4, 4.0) for count in taken.left),
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
