"""How the engine's column types become cells: what Python holds exactly comes as it is, all else as the engine's text.

Standard library only: the sandbox child imports it.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

_EXACT = frozenset(
    [
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "UHUGEINT",
        "BIGNUM",
        "FLOAT",
        "DOUBLE",
        "VARCHAR",
        "JSON",
        "UUID",
        "BLOB",
        "BIT",
        "DATE",
        "TIME",
        "TIMESTAMP",
        "TIMESTAMP_S",
        "TIMESTAMP_MS",
    ]
)
_EXACT_FAMILIES = ("DECIMAL(", "ENUM(")
_TAGS = {"DATE": "date", "TIMESTAMP": "timestamp", "TIMESTAMP_S": "timestamp", "TIMESTAMP_MS": "timestamp"}
_IN_LISTS = frozenset(
    ["INTERVAL", "TIME WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE", "TIME_NS", "TIMESTAMP_NS", *_TAGS]
)
"""Types whose lists come as lists of text; a list of anything else that is not exact is one text."""
_MENDED = frozenset({*_TAGS, "BIGNUM", "FLOAT"})
_BRACKETS = re.compile(r"(?:\[\d*\])*$")
_TOO_LARGE = 3.4028235677973366e38
"""From here on a number has no form in four bytes."""
_BENT = frozenset({"0001-01-01", "9999-12-31", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"})
"""What Python makes of infinite dates and timestamps, and of the finite ones that are its own ends."""
_HINTS = (
    *("interval", "{", "struct", "row(", "map", "histogram", "union_", "_transform", "from_json", "age(", "to_"),
    *("zone", "tz", "_ns", "now(", "strptime", "_time"),
)
"""What a statement with a column of an inexact type is likely to hold, in lower case."""
_DIFFERENCE = re.compile(r"-\s*[A-Za-z_\"(]")


@lru_cache(maxsize=4096)
def split(kind: str) -> tuple[str, str]:
    """A type as its innermost element and its list brackets: INTEGER[][3] is INTEGER and [][3]."""
    base = _BRACKETS.sub("", kind, count=1)
    return base, kind[len(base) :]


@lru_cache(maxsize=4096)
def is_exact(kind: str) -> bool:
    """Whether Python holds each value of the type exactly, but for infinite dates."""
    base, brackets = split(kind)
    return (base in _EXACT and not (base == "JSON" and brackets)) or base.startswith(_EXACT_FAMILIES)


def may_need_text(sql: str) -> bool:
    """Whether it pays to ask for the types before the statement runs. A wrong answer costs time and nothing else."""
    text = sql.lower()
    return any(hint in text for hint in _HINTS) or ("-" in text and _DIFFERENCE.search(sql) is not None)


def picks(kinds: Sequence[str], texts: Iterable[int]) -> str:
    """A select list of all columns by position; those at `texts` (from 0 on) are text, or lists of text."""
    as_text = set(texts)
    return ", ".join(
        f"CAST(#{at + 1} AS {_text_type(kind)}) AS c{at}" if at in as_text else f"#{at + 1} AS c{at}"
        for at, kind in enumerate(kinds)
    )


def _text_type(kind: str) -> str:
    base, brackets = split(kind)
    return f"VARCHAR{brackets}" if base in _IN_LISTS else "VARCHAR"


def mend(rows: list[list[object]], kinds: Sequence[str]) -> set[int]:
    """Give cells the form of their column's type, in place; the columns with a value that Python may have bent."""
    bent: set[int] = set()
    for at, kind in enumerate(kinds):
        base = split(kind)[0]
        if base in _MENDED:
            for row in rows:
                row[at] = _mended(row[at], base)
            if base in _TAGS and any(_is_bent(row[at]) for row in rows):
                bent.add(at)
    return bent


def _mended(cell: object, base: str) -> object:
    match cell:
        case list():
            return [_mended(item, base) for item in cell]
        case str():
            return {_TAGS.get(base, "decimal"): cell}
        case float() if base == "FLOAT":
            return _shortest(cell)
        case _:
            return cell


def _shortest(value: float) -> float:
    """The number with the fewest digits that is this one in four bytes: 0.1, and not 0.10000000149011612."""
    for digits in range(6, 9):
        number = float(f"{value:.{digits}g}")
        if abs(number) < _TOO_LARGE and struct.unpack("f", struct.pack("f", number))[0] == value:
            return number
    return float(f"{value:.9g}")


def _is_bent(cell: object) -> bool:
    if isinstance(cell, list):
        return any(map(_is_bent, cell))
    return isinstance(cell, dict) and not _BENT.isdisjoint(cell.values())
