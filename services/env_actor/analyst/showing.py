"""Rows of a result as the analyst reads them: JSON objects, one value a column."""

from collections.abc import Iterable

from services.contracts.cells import cell_text
from services.contracts.statements import Cell, ResultTable
from services.env_actor.render import CELL_CHARACTERS

ROWS_SHOWN = 5


def rows_shown(result: ResultTable) -> list[dict[str, Cell]]:
    """The first 5 rows; a column's name that comes again is numbered: id, id_2."""
    names = unique_names(result.columns)
    return [dict(zip(names, map(_plain, row), strict=True)) for row in result.rows[:ROWS_SHOWN]]


def unique_names(columns: Iterable[str]) -> list[str]:
    """The names, each different from those before it."""
    names: dict[str, None] = {}
    for column in columns:
        name, number = column, 1
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names[name] = None
    return list(names)


def _plain(cell: Cell) -> Cell:
    """A number, a flag or NULL as it is; anything else as text, cut where it is too long."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    text = cell_text(cell)
    return text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]}… ({len(text)} characters)"
