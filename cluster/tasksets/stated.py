"""An answer as its author wrote it into a questions file, typed."""

import json
import math
import re

from services.contracts.statements import Cell
from services.grader.gold import AnswerType
from services.grader.reading import read_number

Stated = tuple[AnswerType, Cell]
EXAMPLES = {"list": "[1, 2]", "table": '[[1, "a"], [2, "b"]]'}
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)?\.?[0-9]+([eE][+-]?[0-9]+)?")


def stated_answer(value: Cell, kind: AnswerType | None) -> Stated | None:
    """(answer type, answer), of the given type or the one it looks like; None for no answer. Raises ValueError."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return _inferred(value) if kind is None else (kind, _converted(value, kind))


def _inferred(value: Cell) -> Stated:
    match value:
        case bool():
            return "string", str(value).lower()
        case int():
            return "integer", value
        case float():
            return "float", _number(value, "float")
        case list():
            kind: AnswerType = "table" if any(isinstance(item, list) for item in value) else "list"
            return kind, _converted(value, kind)
        case str():
            return _from_text(value.strip())
        case _:
            raise ValueError("an answer is a value, a list or a list of lists")


def _from_text(text: str) -> Stated:
    if _INTEGER.fullmatch(text):
        return "integer", _number(text, "integer")
    if _FLOAT.fullmatch(text) and not re.match(r"-?0[0-9]", text):
        return "float", _number(text, "float")
    if text.startswith("[") and text.endswith("]"):
        try:
            value = _from_json(text)
        except ValueError:
            return "string", text
        return _inferred(value)
    return "string", text


def _converted(value: Cell, kind: AnswerType) -> Cell:
    match kind:
        case "integer" | "float":
            return _number(value, kind)
        case "string":
            return value if isinstance(value, str) else json.dumps(value)
        case _:
            rows = _from_json(value) if isinstance(value, str) else value
            if not isinstance(rows, list) or not rows or not all(map(_is_row if kind == "table" else _is_cell, rows)):
                raise ValueError(f"a {kind} answer is written as JSON, as in {EXAMPLES[kind]}")
            if kind == "table" and len({len(row) for row in rows if isinstance(row, list)}) > 1:
                raise ValueError("the rows of the table have different widths")
            return rows


def _number(value: Cell, kind: AnswerType) -> int | float:
    number = None if isinstance(value, bool) else read_number(value if isinstance(value, str) else json.dumps(value))
    if number is None or (kind == "integer" and number != number.to_integral_value()):
        raise ValueError(f"the answer {value} is no {kind}")
    if kind == "float" and not math.isfinite(float(number)):
        raise ValueError(f"the answer {value} is too large for a float")
    return int(number) if kind == "integer" else float(number)


def _from_json(text: str) -> Cell:
    try:
        value: Cell = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("the answer is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"the answer is not JSON: {error}") from error
    return value


def _refuse(constant: str) -> Cell:
    raise ValueError(f"{constant} is no value")


def _is_cell(value: Cell) -> bool:
    return not isinstance(value, list | dict)


def _is_row(value: Cell) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_cell, value))
