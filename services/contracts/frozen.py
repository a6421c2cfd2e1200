"""The production job that nothing may change: its id is recognised in any spelling and any type.

Invariant: a value that a person, a shell or an API could take for the id is taken for it. Standard library only.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import unquote

_WORD = re.compile(r"\w+")
_PREFIXED = re.compile(r"[+-]?0[xob][0-9a-f_]+")
_MOST_DIGITS = 40
"""A job's id has fewer: what is longer is no id, and 1e999999999 is not worked out."""


class FrozenJob:
    """The id of the job in production."""

    def __init__(self, job_id: str) -> None:
        self._id = _canonical(job_id)

    def named_by(self, value: object) -> bool:
        """Whether the value, or a part of it, is the id: 7, "7", " 07 ", 7.0, "7e0", "0x7", b"7", "jobs/7", [7]."""
        if isinstance(value, Mapping):
            return any(map(self.named_by, (*value.keys(), *value.values())))
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray):
            return any(map(self.named_by, value))
        text = _text(value)
        return self._id in {_canonical(text), *map(_canonical, _WORD.findall(text))}


def _text(value: object) -> str:
    """The value as one would write it: digits of any script as 0 to 9, without what cannot be seen."""
    raw = bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
    if isinstance(value, bool):
        raw = str(int(value))
    folded = unicodedata.normalize("NFKC", unquote(raw)).casefold()
    return "".join(_plain(letter) for letter in folded if unicodedata.category(letter) != "Cf").strip(" \t\r\n'\"`")


def _plain(letter: str) -> str:
    digit = unicodedata.digit(letter, None)
    return letter if digit is None else str(digit)


def _canonical(value: str) -> str:
    text = _text(value)
    if _PREFIXED.fullmatch(text):
        return _integer(text)
    try:
        number = Decimal(text.replace(",", ""))
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        return text
    return str(int(number)) if number == number.to_integral_value() else text


def _integer(text: str) -> str:
    try:
        return str(int(text, 0))
    except ValueError:
        return text
