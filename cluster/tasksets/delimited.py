"""Delimited text (RFC 4180) as records with the line each begins on; nothing is guessed but the separator.

A field in quotes is text as it stands; one without may spell NULL. A record that cannot be read is given with the
reason, and reading goes on at the next line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cluster.tasksets.columns import reads_as_data
from services.contracts.errors import BadInput

SEPARATORS = (",", ";", "\t", "|")
QUOTED = r'"(?:[^"]++|"")*+"'
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Fields = list[str | None]


@dataclass
class Sheet:
    """One file: column names, records of that width in file order with their lines, and what could not be read."""

    header: tuple[str, ...]
    rows: list[Fields] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)


def read_sheet(path: Path, shown: str, nulls: frozenset[str]) -> Sheet:
    """Read a file whole; `nulls` are the unquoted spellings of NULL. Raises BadInput for its encoding or its header."""
    text = read_utf8(path, shown)
    separator = separator_of(text)
    found = records(text, separator, nulls)
    sheet = Sheet(_header(text, separator, shown))
    next(found)
    width = len(sheet.header)
    for line, fields in found:
        if isinstance(fields, str):
            sheet.bad.append((line, fields))
        elif len(fields) != width:
            sheet.bad.append((line, f"{len(fields)} field{'s' * (len(fields) != 1)}, expected {width}"))
        else:
            sheet.rows.append(fields)
            sheet.lines.append(line)
    return sheet


def read_utf8(path: Path, shown: str) -> str:
    """A file's text, without its byte order mark. Raises BadInput with the line that is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {shown}: {error.strerror}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{shown} line 1: UTF-16, not UTF-8: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{shown} line {line}: not UTF-8 (byte 0x{data[error.start]:02x}): save it as UTF-8") from error


def separator_of(text: str) -> str:
    """The separator that cuts the first record into most fields."""

    def width(separator: str) -> int:
        _, fields = next(records(text, separator, frozenset()), (1, ""))
        return 0 if isinstance(fields, str) else len(fields)

    return max(SEPARATORS, key=width)


def records(text: str, separator: str, nulls: frozenset[str]) -> Iterator[tuple[int, Fields | str]]:
    """(line, fields) of each record that is not blank, or (line, reason) of one that cannot be read."""
    newline = "\n" if "\n" in text or "\r" not in text else "\r"
    place, line = 0, 1
    while place < len(text):
        end = text.find(newline, place)
        stop = end = len(text) if end < 0 else end
        plain = text[place:end]
        if '"' in plain:
            fields, stop = _quoted_record(text, place, _field(separator, newline), nulls)
            yield line, fields
            stop = end if isinstance(fields, str) else stop
        elif plain := plain.removesuffix("\r"):
            yield line, [None if cell in nulls else cell for cell in plain.split(separator)]
        line += text.count(newline, place, stop) + 1
        place = stop + 1


@cache
def _field(separator: str, newline: str) -> re.Pattern[str]:
    """One field and what ends it: in quotes (group 1) or not (group 2); group 3 is set if another field follows."""
    end = r"\r?\n" if newline == "\n" else r"\r"
    return re.compile(
        rf'(?:({QUOTED})|((?!")[^{re.escape(separator)}{newline}]*?))(?:({re.escape(separator)})|{end}|\Z)'
    )


def _quoted_record(text: str, place: int, field: re.Pattern[str], nulls: frozenset[str]) -> tuple[Fields | str, int]:
    """The fields of a record, or why there are none; and where its line end is."""
    fields: Fields = []
    while found := field.match(text, place):
        quoted, plain = found[1], found[2]
        if quoted is not None:
            fields.append(quoted[1:-1].replace('""', '"'))
        else:
            fields.append(None if plain in nulls else plain)
        place = found.end()
        if found[3] is None:
            at_line_end = place > found.end(1 if quoted is not None else 2)
            return fields, place - 1 if at_line_end else place
    closed = re.compile(QUOTED).match(text, place)
    return "text after a closing quote" if closed else "a quote that is never closed", place


def _header(text: str, separator: str, shown: str) -> tuple[str, ...]:
    line, names = next(records(text, separator, frozenset()), (1, None))
    if names is None:
        raise BadInput(f"{shown} is empty: its first line must name the columns")
    if isinstance(names, str):
        raise BadInput(f"{shown} line {line}: {names}")
    header = tuple((name or "").strip() for name in names)
    where = f"{shown} line {line}"
    data = next((name for name in header if reads_as_data(name)), None)
    if data is not None:
        raise BadInput(f"{where}: {data} is data, not a column name: the first line must name the columns")
    check_names(header, where)
    return header


def check_names(names: tuple[str, ...], where: str) -> None:
    """Raise BadInput for a column name that is missing, comes twice or cannot be used."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise BadInput(f"{where}: column {number} has no name (pandas writes its index so: use index=False)")
        if name.casefold() in seen:
            raise BadInput(f"{where}: columns {seen[name.casefold()]} and {number} are both named {name}")
        if name.casefold() == "rowid" or _CONTROL.search(name):
            raise BadInput(f"{where}: a column cannot be named {name!r}: rename it")
        seen[name.casefold()] = number
