"""Cells as plain text and as numbers: the one reading of the wire form that showing and grading share."""

import json
from decimal import Decimal, InvalidOperation

from services.contracts.statements import Cell


def cell_text(cell: Cell) -> str:
    """A value as plain text; NULL for None."""
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
            return "[" + ", ".join(cell_text(item) for item in cell) + "]"
        case _:
            return json.dumps(cell, sort_keys=True)


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
