"""Cells as plain text and as numbers: the one reading of the wire form that showing and grading share."""

import json
import re
from decimal import Decimal, InvalidOperation

from services.contracts.statements import Cell

_QUOTED_IN_LISTS = re.compile(r"""['"()\[\]{},:=]|^\s|\s$|^$|^null$""", re.IGNORECASE | re.ASCII)
_ESCAPED = re.compile(r"(['\\])")


def cell_text(cell: Cell) -> str:
    """A value as plain text, as the engine casts it to text but for blobs; NULL for None."""
    match cell:
        case None:
            return "NULL"
        case bool():
            return "true" if cell else "false"
        case int() | float():
            return repr(cell)
        case str():
            return cell
        case {"decimal": str(value)} | {"float": str(value)} | {"date": str(value)} | {"timestamp": str(value)}:
            return value
        case {"uuid": str(value)}:
            return value
        case {"blob": str(value)}:
            return f"0x{value}"
        case list():
            return "[" + ", ".join(map(_item_text, cell)) + "]"
        case _:
            return json.dumps(cell, sort_keys=True)


def _item_text(item: Cell) -> str:
    """An item of a list: text that would be mistaken for NULL or for more items is quoted."""
    text = cell_text(item)
    if item is None or isinstance(item, list) or not _QUOTED_IN_LISTS.search(text):
        return text
    return "'" + _ESCAPED.sub(r"\\\1", text) + "'"


def cell_number(cell: Cell) -> Decimal | None:
    """A finite number exactly as it is, or None for anything else; a bool is no number."""
    match cell:
        case bool():
            return None
        case int():
            return Decimal(cell)
        case float():
            return Decimal(repr(cell)) if cell == cell and abs(cell) != float("inf") else None
        case {"decimal": str(value)}:
            try:
                number = Decimal(value)
            except InvalidOperation:
                return None
            return number if number.is_finite() else None
        case _:
            return None


def is_exact(cell: Cell) -> bool:
    """Whether a number is an integer by type."""
    return isinstance(cell, int) and not isinstance(cell, bool)
