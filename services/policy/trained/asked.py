"""How far a tried query does what the question asks for, as numbers."""

from collections.abc import Iterable, Iterator

from services.policy.heuristic.cues import Kind
from services.policy.heuristic.reading import Column
from services.policy.tier.frames import Frame, column_of, frames_within
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Item, Operation, Scalar
from services.policy.tier.whole import Tried

_CUES = (
    Kind.COUNT, Kind.AGGREGATE, Kind.SUPERLATIVE, Kind.DISTINCT, Kind.GROUP, Kind.ORDER, Kind.NEGATE, Kind.BOTH,
    Kind.EVERYTHING, Kind.FREQUENT,
)  # fmt: skip
_DENIALS = ("!=", "not in", "not like", "except", "is null")
_EXTREMES = ("min", "max")
_NAMED = 0.5
"""From which affinity on the question is taken to name a table."""
ASKED = (
    *(f"asks {kind.name.lower()}" for kind in _CUES),
    "one number asked and given", "one number asked, not given", "extreme asked, not given", "group asked, not given",
    "distinct asked, not given", "denial asked, not given", "tables used of those mentioned", "tables used unasked",
    "columns used of those mentioned", "columns shown mentioned", "cells used", "numbers used", "texts used",
    "values used unasked", "functions shown",
)  # fmt: skip


def asked_numbers(tried: Tried, knowledge: Knowledge) -> tuple[float, ...]:
    """The numbers of ASKED. A share of nothing is 1: nothing is missed."""
    asks = {cue.kind for cue in knowledge.cues}
    frames = tuple(frames_within(tried.query.state.frame))
    taken = tried.query.state.taken
    one_number = bool(asks & {Kind.COUNT, Kind.AGGREGATE}) and not asks & {Kind.GROUP, Kind.FREQUENT}
    given = tried.outcome.total == 1 and len(next(iter(tried.outcome.rows), ())) == 1
    items = [item for frame in frames for shown in frame.shown for item in shown.items]
    ordered = any(frame.order for frame in frames) or any(item.function in _EXTREMES for item in items)
    denied = any(getattr(operation, "operator", "") in _DENIALS for operation in taken)
    return (
        *(kind in asks for kind in _CUES), one_number and given, one_number and not given,
        Kind.SUPERLATIVE in asks and not ordered, Kind.GROUP in asks and not any(frame.group for frame in frames),
        Kind.DISTINCT in asks and not any(frame.distinct or _counts_distinct(frame) for frame in frames),
        Kind.NEGATE in asks and not denied, *_named(frames, knowledge), *_valued(taken, knowledge),
        sum(bool(item.function) for item in items) / 4,
    )  # fmt: skip


def _counts_distinct(frame: Frame) -> bool:
    return any(item.distinct for shown in frame.shown for item in shown.items)


def _named(frames: Iterable[Frame], knowledge: Knowledge) -> tuple[float, ...]:
    """Of tables and columns: mentioned and used, used and not mentioned, shown and mentioned."""
    used, shown = set[Column](), set[Column]()
    tables = {source.table for frame in frames for source in frame.sources}
    for frame in frames:
        shown |= _columns(frame, (item for one in frame.shown for item in one.items), knowledge)
        used |= _columns(frame, _items(frame), knowledge)
    mentioned = [mention.table.name for mention in knowledge.mentions if mention.table is not None]
    meant = [mention.columns for mention in knowledge.mentions if mention.columns]
    return (
        _share(name in tables for name in mentioned),
        sum(knowledge.affinity(table) < _NAMED for name in tables if (table := knowledge.schema.table(name))) / 4,
        _share(not used.isdisjoint(columns) for columns in meant),
        _share(any(column in columns for columns in meant) for column in shown),
    )


def _items(frame: Frame) -> Iterator[Item]:
    """Everything that the frame speaks of, its joins left out."""
    yield from (item for one in frame.shown for item in one.items)
    yield from (Item(ref) for ref in frame.group)
    yield from (item for item, _ in frame.order)
    yield from (test.item for clause in (*frame.where, *frame.having) for test in clause)


def _columns(frame: Frame, items: Iterable[Item], knowledge: Knowledge) -> set[Column]:
    found = (column_of(frame, item.ref, knowledge.schema) for item in items if item.ref is not None)
    return {column for column in found if column is not None}


def _valued(taken: Iterable[Operation], knowledge: Knowledge) -> tuple[float, ...]:
    """Of the question's cells (each text once), numbers and other texts, those used; and values it does not say."""
    used = {str(value).strip("%") for operation in taken for value in _values(operation)}
    kinds = {kind: {str(one.value) for one in knowledge.values if one.kind == kind} for kind in ("hit", "number")}
    texts = {str(one.value) for one in knowledge.values if one.kind == "literal"} - kinds["hit"]
    said = {str(one.value).strip("%") for one in knowledge.values if one.kind != "guess"}
    return (
        _share(value in used for value in kinds["hit"]), _share(value in used for value in kinds["number"]),
        _share(value in used for value in texts), len(used - said) / 4,
    )  # fmt: skip


def _values(operation: Operation) -> tuple[Scalar, ...]:
    """What the operation compares with, or how many rows it keeps."""
    limit = getattr(operation, "count", None)
    values: tuple[Scalar, ...] = getattr(operation, "values", ())
    return values if limit is None else (limit,)


def _share(held: Iterable[bool]) -> float:
    """Of what there is."""
    listed = list(held)
    return sum(listed) / len(listed) if listed else 1.0
