"""Describing: what is known of one argument of an operation (a column, a table, a value, a join), as numbers."""

import math
from collections.abc import Sequence
from functools import lru_cache

from services.policy.heuristic.cues import Cue, Kind
from services.policy.heuristic.joining import key_of, likely_edges
from services.policy.heuristic.linking import Mention
from services.policy.heuristic.naming import label_columns
from services.policy.heuristic.reading import Column, Table
from services.policy.tier.candidates import is_measure
from services.policy.tier.frames import Frame
from services.policy.tier.knowledge import Knowledge, Value
from services.policy.tier.operations import Filter, Having, Ref

_CUED = tuple(kind for kind in Kind if kind is not Kind.END)
COLUMN = (
    "given", "affinity", "affinity of its table", "mentioned", "rank in its mention", "place of its mention",
    "score of its mention", "numeric", "key", "measure", "label", "place in its table", "rivals", "named like a table",
    "holds a cell", *(f"after {kind.name.lower()}" for kind in _CUED),
)  # fmt: skip
USE = ("in a condition", "grouped", "shown", "ordered by", "joined by", "words taken up")
TABLE = (
    "given", "affinity", "mentioned", "place of its mention", "in the frame", "rows", "columns", "columns named best",
    "columns named", "columns named alone", "cells held", "cells held alone",
)  # fmt: skip
VALUE = (
    "given", "cell", "number", "literal", "pattern", "guess", "place", "distance from the column",
    "just after the column", "operator is asked", "another operator is asked", "used", "negated",
    "held by several columns",
)  # fmt: skip
JOINING = (
    "given", "likely", "doubt", "same name", "same table", "named tables", "affinity", "key", "numeric",
    "place in its table",
)  # fmt: skip
_NEAR = 4


@lru_cache(maxsize=8192)
def column_numbers(column: Column | None, knowledge: Knowledge) -> tuple[float, ...]:
    """The numbers of COLUMN."""
    if column is None:
        return (0.0,) * len(COLUMN)
    table = knowledge.schema.table(column.table)
    mention, rank = _mention_of(column, knowledge)
    words = max(len(knowledge.words), 1)
    affinity = knowledge.affinity(column)
    rivals = sum(other != column and knowledge.affinity(other) >= affinity for other in knowledge.schema.columns())
    cued = _cues_before(mention.start if mention else -1, knowledge.cues)
    return (
        1.0, affinity, knowledge.affinity(table) if table else 0.0, mention is not None, 1 / (1 + rank),
        mention.start / words if mention else -1.0, min(mention.score, 4.0) / 4 if mention else 0.0, column.numeric,
        table is not None and column == key_of(table), is_measure(column),
        table is not None and column in label_columns(table), min(column.position / 10, 2.0), min(rivals / 10, 4.0),
        any(column.name.lower() == other.name.lower() for other in knowledge.schema.tables),
        any(hit.column == column for hit in knowledge.hits), *(kind in cued for kind in _CUED),
    )  # fmt: skip


def use_numbers(ref: Ref | None, frame: Frame) -> tuple[float, ...]:
    """The numbers of USE: where the frame has the column already; not whether its words are taken up."""
    if ref is None:
        return (0.0,) * len(USE)
    joined = any(source.left == ref for source in frame.sources)
    return (
        any(test.item.ref == ref for clause in frame.where for test in clause), ref in frame.group,
        any(item.ref == ref for one in frame.shown for item in one.items),
        any(item.ref == ref for item, _ in frame.order),
        joined or (ref.source < len(frame.sources) and frame.sources[ref.source].column == ref.column), False,
    )  # fmt: skip


def table_numbers(table: Table | None, knowledge: Knowledge) -> tuple[float, ...]:
    """The numbers of TABLE, without how often the frame has it."""
    if table is None:
        return (0.0,) * len(TABLE)
    mention = next((one for one in knowledge.mentions if one.table == table), None)
    place = mention.start / max(len(knowledge.words), 1) if mention else -1.0
    return (
        1.0, knowledge.affinity(table), mention is not None, place, 0.0, math.log1p(table.row_count) / 12,
        min(len(table.columns) / 10, 3.0), *(min(count / 4, 2.0) for count in _named_of(table, knowledge)),
    )  # fmt: skip


def _named_of(table: Table, knowledge: Knowledge) -> tuple[int, ...]:
    """Mentions of columns whose best, any, and all are the table's; cells that it holds, and that it alone holds."""
    mentions = [{column.table for column in one.columns} for one in knowledge.mentions if one.columns and not one.hits]
    best = [one.columns[0].table for one in knowledge.mentions if one.columns and not one.hits]
    cells = [{column.table for column in one.columns} for one in knowledge.values if one.kind == "hit"]
    name = table.name
    return (
        best.count(name), sum(name in named for named in mentions), mentions.count({name}),
        sum(name in holding for holding in cells), cells.count({name}),
    )  # fmt: skip


def value_numbers(test: Filter | Having, column: Column | None, knowledge: Knowledge) -> tuple[float, ...]:
    """The numbers of VALUE, of the first value compared with, without whether it is used already."""
    if not test.values:
        return (0.0,) * len(VALUE)
    value = _value_of(test, column, knowledge)
    place = value.place if value is not None else -1
    words = max(len(knowledge.words), 1)
    mention = _mention_of(column, knowledge)[0] if column is not None else None
    distance = (place - mention.end) / words if mention is not None and place >= 0 else -1.0
    asked = [cue.value for cue in knowledge.cues if cue.kind is Kind.COMPARE and 0 <= place - cue.end <= _NEAR]
    negated = any(cue.kind is Kind.NEGATE and 0 <= place - cue.end <= _NEAR + 2 for cue in knowledge.cues)
    kind = value.kind if value is not None else ""
    return (
        1.0, *(kind == name for name in ("hit", "number", "literal", "pattern", "guess")),
        place / words if place >= 0 else -1.0, distance, mention is not None and 0 <= place - mention.end <= _NEAR,
        test.operator in asked, bool(asked) and test.operator not in asked, 0.0, negated,
        min(len(value.columns) / 4, 2.0) if value is not None else 0.0,
    )  # fmt: skip


def joining_numbers(left: Column | None, right: Column | None, knowledge: Knowledge) -> tuple[float, ...]:
    """The numbers of JOINING: of the second column of a join or a match, and of the pair."""
    mine = knowledge.schema.table(left.table) if left is not None else None
    table = knowledge.schema.table(right.table) if right is not None else None
    if left is None or right is None or table is None or mine is None:
        return (0.0,) * len(JOINING)
    doubt = next((edge.cost for edge in likely_edges(mine, table) if (edge.left, edge.right) == (left, right)), 0.0)
    named = [one.table for one in knowledge.mentions if one.table is not None]
    return (
        1.0, doubt > 0, doubt / 4, left.name.lower() == right.name.lower(), table == mine,
        (table in named) / 2 + (mine in named) / 2, knowledge.affinity(right), right == key_of(table), right.numeric,
        min(right.position / 10, 2.0),
    )  # fmt: skip


def _mention_of(column: Column, knowledge: Knowledge) -> tuple[Mention | None, int]:
    """The words that name the column best, and how many other columns they name better."""
    found = [(mention.columns.index(column), mention) for mention in knowledge.mentions if column in mention.columns]
    rank, mention = min(found, key=lambda pair: (pair[0], pair[1].start), default=(9, None))
    return mention, rank


def _cues_before(place: int, cues: Sequence[Cue]) -> frozenset[Kind]:
    """What is asked by the words just before a place."""
    return frozenset(cue.kind for cue in cues if place >= 0 and 0 <= place - cue.end <= _NEAR)


def _value_of(test: Filter | Having, column: Column | None, knowledge: Knowledge) -> Value | None:
    """Where the value comes from: of equal values the one that the column holds."""
    wanted = str(test.values[0])
    found = [value for value in knowledge.values if str(value.value) == wanted]
    return next((value for value in found if column in value.columns), found[0] if found else None)
