"""Whether a query gives on a variant what the gold gives there, by the rules of the task's answer type.

A list is a set (docs/rewards.md), but no value may come up more often than in the gold: that would be a lost DISTINCT
or a join that multiplies.
"""

from collections.abc import Sequence

from pydantic import Field

from services.contracts.cells import cell_text
from services.contracts.record import Record
from services.contracts.statements import Cell, Rows
from services.grader.gold import GoldAnswer
from services.grader.matching import (
    Value,
    column_kinds,
    equal_bags,
    equal_in_groups,
    equal_sequences,
    equal_sets,
    gold_value,
)
from services.grader.reading import normal_text


class Expected(Record):
    """What the gold gives on one database: rows, perhaps none, and the runs of tied rows of an ordered answer."""

    rows: tuple[tuple[Cell, ...], ...]
    tie_groups: tuple[int, ...] = ()
    repeats: bool = Field(
        default=True, description="how often a row comes up counts; not so where names are made to come up twice"
    )


def agrees(gold: GoldAnswer, expected: Expected, rows: Sequence[Sequence[Cell]]) -> bool:
    """Whether rows are the expected ones."""
    golds: Rows = [list(row) for row in expected.rows]
    if not golds or not rows:
        return len(golds) == len(rows)
    if any(len(row) != len(golds[0]) for row in rows):
        return False
    if repr(golds) == repr([list(row) for row in rows]):  # cell by cell the same, types too: nothing to weigh
        return True
    if not expected.repeats:
        golds, rows = _each_once(golds), _each_once(rows)
        if gold.ordered and expected.tie_groups:
            gold = gold.model_copy(update={"ordered": False})
    as_set = not gold.ordered and gold.answer_type != "table" and len(golds[0]) == 1
    if len(rows) > len(golds) or (len(rows) != len(golds) and not as_set):
        return False
    kinds = column_kinds(golds)
    tolerances = [gold.tolerance if kind == "float" else 0.0 for kind in kinds]
    mine: list[list[Value]] = [[gold_value(c, k) for c, k in zip(row, kinds, strict=True)] for row in rows]
    theirs: list[list[Value]] = [[gold_value(c, k) for c, k in zip(row, kinds, strict=True)] for row in golds]
    if gold.ordered:
        if expected.tie_groups:
            return equal_in_groups(mine, theirs, tolerances, expected.tie_groups)
        return equal_sequences(mine, theirs, tolerances)
    if len(rows) < len(golds):
        return equal_sets([row[0] for row in mine], [row[0] for row in theirs], kinds[0], gold.tolerance)
    return equal_bags(mine, theirs, tolerances) or (
        as_set
        and equal_sets([r[0] for r in mine], [r[0] for r in theirs], kinds[0], gold.tolerance)
        and not _more(mine, theirs)
    )


def _each_once(rows: Sequence[Sequence[Cell]]) -> Rows:
    """Rows without those that came up before."""
    seen: dict[tuple[str, ...], list[Cell]] = {}
    for row in rows:
        seen.setdefault(tuple(normal_text(cell_text(cell)) for cell in row), list(row))
    return list(seen.values())


def _more(mine: Sequence[Sequence[Value]], theirs: Sequence[Sequence[Value]]) -> bool:
    """Whether a value comes up more often than in the gold."""
    counts: dict[Value, int] = {}
    for row in theirs:
        counts[row[0]] = counts.get(row[0], 0) + 1
    for row in mine:
        counts[row[0]] = counts.get(row[0], 0) - 1
    return any(count < 0 for count in counts.values())
