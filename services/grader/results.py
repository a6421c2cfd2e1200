"""Whether two engines gave the same result: text to the letter, numbers but for float rounding, NULL as NULL."""

from services.contracts.cells import cell_number, cell_text, is_exact
from services.contracts.statements import Cell, Rows
from services.grader.matching import Value, equal_bags, equal_sequences

ROUNDING = 1e-9


def same_result(rows: Rows, golds: Rows, ordered: bool) -> bool:
    """A sequence if ordered, else a bag."""
    if len(rows) != len(golds) or (golds and len(rows[0]) != len(golds[0])):
        return False
    if not golds:
        return True
    tolerances = [ROUNDING if _may_round(column) else 0.0 for column in zip(*[*rows, *golds], strict=True)]
    compare = equal_sequences if ordered else equal_bags
    return compare([list(map(_value, row)) for row in rows], [list(map(_value, row)) for row in golds], tolerances)


def _may_round(column: tuple[Cell, ...]) -> bool:
    return any(cell_number(cell) is not None and not is_exact(cell) for cell in column)


def _value(cell: Cell) -> Value:
    if cell is None:
        return None
    number = cell_number(cell)
    return number if number is not None else cell_text(cell)
