"""Submitted text as values: the many ways in which a person or an LLM writes an answer, each read in one way only.

A text has exactly one reading as a list and one as a table, so that no text holds two guesses.
"""

import ast
import csv
import io
import json
import re
import unicodedata
from decimal import Decimal
from functools import lru_cache

from services.contracts.statements import Cell, Rows

MAX_CHARACTERS = 2_000_000
MAX_PYTHON_CHARACTERS = 100_000
MAX_NORMAL_CHARACTERS = 1_000
"""Longer text is compared as it stands: normalising takes time quadratic in a run of combining marks."""
SHORT_TEXT = 64
TEXTS_KEPT = 50_000
MAX_LEVELS = 8
MAX_BITS = 1_024
_NUMBER = re.compile(r"[+-]?((\d{1,3}(,\d{3})+|\d+)(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\Z", re.ASCII)
_BULLET = re.compile(r"\A(?:[-*•]|\d+[.)])\s+")
_RULE = re.compile(r"[\s|:-]+\Z")
_PIPE = re.compile(r"(?<!\\)\|")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}
_CURRENCY = "$€£¥"


def read_number(text: str) -> Decimal | None:
    """The number in "42", "42.0", "1,234", "$3.50", "-7 %" or "1e3"; None for anything else."""
    text = unquoted(text.strip().removesuffix(".").strip()).rstrip("%").strip()
    sign = text[:1] if text[:1] in "+-" else ""
    text = sign + text.removeprefix(sign).lstrip(_CURRENCY).rstrip(_CURRENCY).strip()
    return Decimal(text.replace(",", "")) if _NUMBER.match(text) else None


def normal_text(text: str) -> str:
    """Text as it is compared (§4.2): unicode-normalised, without quotes, outer space, case or a closing full stop."""
    return _normal_short_text(text) if len(text) <= SHORT_TEXT else _normal_text(text)


@lru_cache(TEXTS_KEPT)
def _normal_short_text(text: str) -> str:
    """A gold and the answers and results beside it hold the same short texts many times over."""
    return _normal_text(text)


def _normal_text(text: str) -> str:
    if len(text) <= MAX_NORMAL_CHARACTERS and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = unquoted(text.strip())
    return text.removesuffix(".").strip().casefold()


def unquoted(text: str) -> str:
    """The text inside one pair of quotes, if it is in one."""
    if len(text) >= 2 and _QUOTES.get(text[0]) == text[-1]:
        return text[1:-1].strip()
    return text


def read_list(text: str) -> list[Cell]:
    """The elements of a JSON or Python list; else of lines, all bulleted or none; else between semicolons or commas."""
    literal = _literal(text)
    if isinstance(literal, list):
        return [item[0] if isinstance(item, list) and len(item) == 1 else item for item in literal]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        bulleted = all(map(_BULLET.match, lines))
        return [unquoted(_BULLET.sub("", line) if bulleted else line) for line in lines]
    text = text.strip()
    if text[:1] == "[" and text[-1:] == "]":
        text = text[1:-1]
    parts = [part for row in _csv_rows(text, ";" if ";" in text else ",") for part in row]
    return [unquoted(part.strip()) for part in parts if part.strip()]


def read_table(text: str) -> tuple[Rows, bool]:
    """Rows of a JSON or Python list, of a Markdown table or of CSV; and whether the first may be a header.

    The row above a Markdown rule is a header for certain, and left out.
    """
    literal = _literal(text)
    if isinstance(literal, list):
        return [_row(item) for item in literal], False
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all("|" in line for line in lines):
        ruled = len(lines) > 1 and "-" in lines[1] and _RULE.match(lines[1]) is not None
        return [_pipe_row(line.strip()) for line in (lines[2:] if ruled else lines)], not ruled
    return [[unquoted(cell.strip()) for cell in row] for row in _csv_rows(text.strip(), ",")], True


def _row(item: Cell) -> list[Cell]:
    match item:
        case list():
            return item
        case dict():
            return list(item.values())
        case _:
            return [item]


def _pipe_row(line: str) -> list[Cell]:
    cells = [cell.strip().replace("\\|", "|") for cell in _PIPE.split(line)]
    if cells[-1] == "":
        cells.pop()
    return [*cells[1:]] if line.startswith("|") else [*cells]


def _csv_rows(text: str, separator: str) -> list[list[str]]:
    """The records of CSV, without blank ones; none if it is not CSV."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return []
    return [row for row in rows if len(row) > 1 or any(field.strip() for field in row)]


def _literal(text: str) -> Cell:
    text = text.strip()
    if text[:1] not in ("[", "("):
        return None
    try:
        value: Cell = json.loads(text)
    except (ValueError, RecursionError):
        value = _python_literal(text)
    return value if _is_shallow(value, MAX_LEVELS) else None


def _python_literal(text: str) -> Cell:
    if len(text) > MAX_PYTHON_CHARACTERS:
        return None
    try:
        return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _is_shallow(value: Cell, levels: int) -> bool:
    """Whether lists and objects are nested no deeper than `levels`, so that reading them cannot exhaust the stack."""
    items = list(value.values()) if isinstance(value, dict) else value
    return not isinstance(items, list) or (levels > 0 and all(_is_shallow(item, levels - 1) for item in items))


def _plain(value: object) -> Cell:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("too long a number")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError("not a plain value")
