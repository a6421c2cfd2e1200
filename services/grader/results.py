"""Whether two engines gave the same result: text to the letter, numbers but for float rounding, NULL as NULL."""

from collections.abc import Sequence
from typing import Literal

from services.contracts.cells import cell_number, cell_text, is_exact
from services.contracts.statements import Cell, Rows
from services.grader.matching import Value, equal_bags, equal_in_groups

ROUNDING = 1e-9


def same_result(rows: Rows, golds: Rows, ordered: bool, tie_groups: Sequence[int] = ()) -> bool:
    """A sequence if ordered (tied rows in any order), else a bag."""
    if len(rows) != len(golds) or (golds and len(rows[0]) != len(golds[0])):
        return False
    if not golds:
        return True
    columns, gold_columns = zip(*rows, strict=True), zip(*golds, strict=True)
    kinds = [_compared(mine, theirs) for mine, theirs in zip(columns, gold_columns, strict=True)]
    tolerances = [ROUNDING if kind == "rounded" else 0.0 for kind in kinds]
    ours = [[_value(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in rows]
    theirs = [[_value(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in golds]
    if not ordered:
        return equal_bags(ours, theirs, tolerances)
    return equal_in_groups(ours, theirs, tolerances, tie_groups or [1] * len(golds))


def _compared(ours: tuple[Cell, ...], theirs: tuple[Cell, ...]) -> Literal["exact", "rounded", "text"]:
    """How a column is compared: as text if one engine keeps its numbers as text, because it holds texts too."""
    if any(isinstance(cell, str) for cell in ours) != any(isinstance(cell, str) for cell in theirs):
        return "text"
    if any(isinstance(cell, str) for cell in theirs) and any(cell_number(cell) is not None for cell in theirs):
        return "text"
    return "rounded" if any(map(_may_round, (*ours, *theirs))) else "exact"


def _may_round(cell: Cell) -> bool:
    return cell_number(cell) is not None and not is_exact(cell)


def _value(cell: Cell, kind: str) -> Value:
    number = cell_number(cell)
    if cell is None:
        return None
    return number if number is not None and kind != "text" else cell_text(cell)
