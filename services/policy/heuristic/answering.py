"""Answers: the rows of a result as the text of an ANSWER."""

import json
import math
from collections.abc import Sequence

Row = Sequence[str | None]


def answer_text(rows: Sequence[Row], numeric: Sequence[bool]) -> str:
    """One cell as it is, one column as a list, more as a list of rows; `numeric` tells which columns hold numbers."""
    if not rows:
        return "[]"
    if len(rows) == 1 and len(rows[0]) == 1:
        return "NULL" if rows[0][0] is None else rows[0][0]
    if len(rows[0]) == 1:
        return json.dumps([_value(row[0], numeric, 0) for row in rows if row], ensure_ascii=False)
    table = [[_value(cell, numeric, i) for i, cell in enumerate(row)] for row in rows]
    return json.dumps(table, ensure_ascii=False)


def _value(cell: str | None, numeric: Sequence[bool], position: int) -> str | int | float | None:
    """The cell as JSON has it: a number only where the column is one."""
    if cell is None or position >= len(numeric) or not numeric[position]:
        return cell
    try:
        return int(cell)
    except ValueError:
        return _float(cell)


def _float(cell: str) -> str | float:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) else cell
