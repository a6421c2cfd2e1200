"""A column of text as the narrowest type that holds all of it: BOOLEAN, BIGINT, DOUBLE, DATE, TIMESTAMP or VARCHAR.

Invariant: a column is typed only if every value is; what a number or a date would lose (leading zeros, digits) is text.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime

NULLS = frozenset({"", "NULL", "null"})
"""Without quotes, NULL in any column."""
BLANKS = NULLS | {"NA", "N/A"}
"""In quotes or not, NULL in a column whose other values are no text. In a text column, NA may be Namibia."""
INT64 = 2**63
EXACT = 2**53
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_YEAR = re.compile(r"[12][0-9]{3}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)", re.ASCII)
Read = Callable[[str], object]


def typed_column(values: Sequence[str | None], blanks: frozenset[str] = BLANKS) -> tuple[str, list[object]]:
    """The column's DuckDB type and its values; space around what is no text does not count."""
    known = {value: value.strip() for value in set(values) if value is not None}
    filled = {value: bare for value, bare in known.items() if bare not in blanks}
    kind, read = _reading(list(filled.values()))
    if read is None:
        return kind, list(values)
    typed: dict[str | None, object] = dict(zip(filled, read, strict=True))
    return kind, [typed.get(value) for value in values]


def reads_as_data(name: str) -> bool:
    """Whether a field of the first line is a number or a date, and thus no name; a year may be a name."""
    if _YEAR.fullmatch(name):
        return False
    return any(_read_all([name], read) for kind, read in TYPES if kind != "BOOLEAN")


def _reading(values: list[str]) -> tuple[str, list[object] | None]:
    """The first type that fits, and the values read; 01/02/2024 alone does not say which is the month, and is text."""
    attempts = ((kind, _read_all(values, read)) for kind, read in TYPES)
    fitting = ((kind, typed) for kind, typed in attempts if typed)
    kind, typed = next(fitting, ("VARCHAR", None))
    if kind == "DATE" and any(other == "DATE" for other, _ in fitting):
        return "VARCHAR", None
    return kind, typed


def _read_all(values: list[str], read: Read) -> list[object] | None:
    try:
        return [read(value) for value in values]
    except ValueError:
        return None


def _boolean(text: str) -> bool:
    low = text.lower()
    if low not in ("true", "false"):
        raise ValueError(text)
    return low == "true"


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not -INT64 <= (number := int(text)) < INT64:
        raise ValueError(text)
    return number


def _double(text: str) -> float:
    """Not a whole number that a DOUBLE would round: an identifier of 20 digits is text."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = float(text)
    if not math.isfinite(number) or (text.removeprefix("-").isdigit() and abs(int(text)) > EXACT):
        raise ValueError(text)
    return number


def _date(pattern: str) -> Read:
    """Reads one way of writing dates, given as a pattern with the groups y, m and d."""
    whole = re.compile(pattern, re.ASCII)

    def read(text: str) -> date:
        found = whole.fullmatch(text)
        if not found:
            raise ValueError(text)
        return date(int(found["y"]), int(found["m"]), int(found["d"]))

    return read


def _timestamp(zone: str) -> Read:
    """Reads 2024-01-31 12:30, with seconds and microseconds or not; `zone` is what must follow: nothing, or Z."""

    def read(text: str) -> datetime:
        found = _TIME.fullmatch(text.removesuffix(zone)) if text.endswith(zone) else None
        if not found:
            raise ValueError(text)
        clock, _, fraction = found[2].partition(".")
        moment = datetime.fromisoformat(f"{found[1]} {clock}")
        return moment.replace(microsecond=int(fraction.ljust(6, "0")) if fraction else 0)

    return read


TYPES: tuple[tuple[str, Read], ...] = (
    ("BOOLEAN", _boolean),
    ("BIGINT", _integer),
    ("DOUBLE", _double),
    ("DATE", _date(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)")),
    ("DATE", _date(r"(?P<y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)")),
    ("DATE", _date(r"(?P<d>\d\d?)\.(?P<m>\d\d?)\.(?P<y>\d{4})")),
    ("DATE", _date(r"(?P<d>\d\d?)/(?P<m>\d\d?)/(?P<y>\d{4})")),
    ("DATE", _date(r"(?P<m>\d\d?)/(?P<d>\d\d?)/(?P<y>\d{4})")),
    ("TIMESTAMP", _timestamp("")),
    ("TIMESTAMP", _timestamp("Z")),
)
"""In the order in which they are preferred. Only the two last ways of writing a date can both fit."""
