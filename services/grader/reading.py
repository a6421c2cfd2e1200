"""Submitted text as values: the many ways in which a person or an LLM writes an answer, each read in one way only.

A text has exactly one reading as a list and one as a table, so that no text holds two guesses.
"""

import ast
import csv
import json
import re
import unicodedata
from decimal import Decimal

from services.contracts.statements import Cell, Rows

MAX_CHARACTERS = 2_000_000
MAX_PYTHON_CHARACTERS = 100_000
_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d{1,4})?\Z", re.ASCII)
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_RULE = re.compile(r"[\s|:+-]+\Z")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}
_CURRENCY = "$€£¥"


def read_number(text: str) -> Decimal | None:
    """The number in "42", "42.0", "1,234", "$3.50", "-7 %" or "1e3"; None for anything else."""
    text = unquoted(text.strip()).rstrip("%").strip()
    sign = text[:1] if text[:1] in "+-" else ""
    text = sign + text.removeprefix(sign).lstrip(_CURRENCY).rstrip(_CURRENCY).strip()
    if not _NUMBER.match(text) or not any(c.isdigit() for c in text):
        return None
    return Decimal(text.replace(",", ""))


def normal_text(text: str) -> str:
    """Text as it is compared (§4.2): unicode-normalised, without quotes, outer space, case or a closing full stop."""
    text = unquoted(unicodedata.normalize("NFC", text).strip())
    return text.removesuffix(".").strip().casefold()


def unquoted(text: str) -> str:
    """The text inside one pair of quotes, if it is in one."""
    if len(text) >= 2 and _QUOTES.get(text[0]) == text[-1]:
        return text[1:-1].strip()
    return text


def read_list(text: str) -> list[Cell]:
    """The elements of a JSON or Python list; else of lines, bulleted or not; else between semicolons or commas."""
    literal = _literal(text)
    if isinstance(literal, list):
        return [item[0] if isinstance(item, list) and len(item) == 1 else item for item in literal]
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return [unquoted(_BULLET.sub("", line, count=1).strip()) for line in lines]
    separator = ";" if ";" in text else ","
    return [unquoted(part.strip()) for part in _csv_row(text.strip(), separator) if part.strip()]


def read_table(text: str) -> tuple[Rows, bool]:
    """Rows of a JSON or Python list, of a Markdown table or of CSV; and whether the first may be a header."""
    literal = _literal(text)
    if isinstance(literal, list):
        return [_row(item) for item in literal], False
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all("|" in line for line in lines):
        body = [line.strip().removeprefix("|").removesuffix("|") for line in lines if not _RULE.match(line)]
        return [[cell.strip() for cell in line.split("|")] for line in body], True
    return [[unquoted(cell.strip()) for cell in _csv_row(line, ",")] for line in lines], True


def _row(item: Cell) -> list[Cell]:
    match item:
        case list():
            return item
        case dict():
            return list(item.values())
        case _:
            return [item]


def _csv_row(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return [text]


def _literal(text: str) -> Cell:
    text = text.strip()
    if text[:1] not in ("[", "("):
        return None
    try:
        value: Cell = json.loads(text)
        return value
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_PYTHON_CHARACTERS:
        return None
    try:
        return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _plain(value: object) -> Cell:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError("not a plain value")
