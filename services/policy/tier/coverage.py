"""Coverage: what of the question a query has taken up so far, and what is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from services.policy.heuristic.linking import Mention
from services.policy.heuristic.reading import Column
from services.policy.tier.frames import Frame, State, column_of, frames_within
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Ref, Scalar


@dataclass(frozen=True, slots=True)
class Coverage:
    """Mentions of columns with one that is used; how many such mentions, cells, numbers and tables are left."""

    covered: tuple[Mention, ...]
    left: tuple[int, int, int, int]


@lru_cache(maxsize=512)
def coverage(state: State, knowledge: Knowledge) -> Coverage:
    """What all frames together have taken up, those that wait for a sub-query included."""
    frames = [within for frame in state.frames for within in frames_within(frame)]
    used = {column for frame in frames for ref in used_refs(frame) if (column := _column(frame, ref, knowledge))}
    used |= {
        column for frame, waiting in zip(state.frames, state.pending, strict=False)
        if (column := _column(frame, waiting.item.ref, knowledge))
    }  # fmt: skip
    values = {str(value) for frame in frames for value in _values(frame)}
    tables = {source.table for frame in frames for source in frame.sources}
    named = [one for one in knowledge.mentions if one.columns and not one.hits]
    covered = tuple(one for one in named if not used.isdisjoint(one.columns))
    cells = {str(value.value) for value in knowledge.values if value.kind == "hit"}
    numbers = {str(value.value) for value in knowledge.numbers}
    mentioned = {one.table.name for one in knowledge.mentions if one.table is not None}
    left = (len(named) - len(covered), len(cells - values), len(numbers - values), len(mentioned - tables))
    return Coverage(covered, left)


def used_refs(frame: Frame) -> Iterator[Ref]:
    """The columns that one frame has to do with."""
    yield from (test.item.ref for clause in (*frame.where, *frame.having) for test in clause if test.item.ref)
    yield from frame.group
    yield from (item.ref for one in frame.shown for item in one.items if item.ref is not None)
    yield from (item.ref for item, _ in frame.order if item.ref is not None)
    for number, source in enumerate(frame.sources):
        if source.left is not None:
            yield source.left
        yield Ref(number, source.column)


def _values(frame: Frame) -> Iterator[Scalar]:
    """What a frame compares with, and its limit."""
    yield from (value for clause in (*frame.where, *frame.having) for test in clause for value in test.values)
    if frame.limit:
        yield frame.limit


def _column(frame: Frame, ref: Ref | None, knowledge: Knowledge) -> Column | None:
    return column_of(frame, ref, knowledge.schema) if ref is not None else None
