"""What a declared format says of a text's characters. A pattern that is not understood says nothing."""

import re

from sqlglot import exp

_ATOM = re.compile(r"\\d|\\[.\-/_]|\[(?:\\d|\\[.\-/_]|[^\]\[\\^-](?:-[^\]\[\\^-])?|-(?=\]))+\]|[A-Za-z0-9 _@:,/#-]")
_MARK = re.compile(r"\{\d+(?:,\d*)?\}|\(\?:|[()|?*+]")
_DIGITS = frozenset("0123456789")
_INNER = re.compile(r"(\\d)|\\(.)|(.)-(.)|(.)")

_DATE = r"(?:\\d|\[0-9\])\{4\}-(?:\\d|\[0-9\])\{2\}-(?:\\d|\[0-9\])\{2\}"
_DATE_PATTERN = re.compile(_DATE)
_INTEGER_PATTERN = re.compile(r"\[1-9\](?:\[0-9\]|\\d)(?:\*|\{0,(\d+)\}|\{(\d+)\})")
_PREFIX = re.compile(r"(\^?)([A-Za-z0-9 _/:=&%@#,;~-]+)(\$|\.\*)?")


def characters_of(pattern: str) -> frozenset[str] | None:
    """The characters that a text may have that matches the pattern as a whole; None if that cannot be told."""
    found: set[str] = set()
    place = 0
    while place < len(pattern):
        mark = _MARK.match(pattern, place)
        atom = None if mark else _ATOM.match(pattern, place)
        if mark is None and atom is None:
            return None
        if atom is not None:
            found |= _characters(atom[0])
        place = (mark or atom).end()  # type: ignore[union-attr]
    return frozenset(found)


def _characters(atom: str) -> set[str]:
    if atom == "\\d":
        return set(_DIGITS)
    if not atom.startswith("["):
        return {atom[-1]}
    found: set[str] = set()
    for digits, escaped, low, high, single in _INNER.findall(atom[1:-1]):
        if digits:
            found |= _DIGITS
        elif low:
            found |= {chr(code) for code in range(ord(low), ord(high) + 1)}
        else:
            found.add(escaped or single)
    return found


def is_iso_date(pattern: str) -> bool:
    """Whether the format is four digits, two and two with hyphens, so that texts sort as dates do."""
    return _DATE_PATTERN.fullmatch(pattern) is not None


def is_plain_integer(pattern: str) -> bool:
    """Whether the format is a positive integer without leading zeros that a BIGINT holds."""
    found = _INTEGER_PATTERN.fullmatch(pattern)
    most = found and (found[1] or found[2])
    return most is not None and bool(most) and int(most) <= 17


def plain_test(subject: exp.Expr, pattern: str) -> exp.Expr | None:
    """A test without a regular expression that says what `regexp_matches(subject, pattern)` says, if there is one."""
    found = _PREFIX.fullmatch(pattern)
    if found is None:
        return None
    start, text, end = found[1], exp.Literal.string(found[2]), found[3]
    if end == "$":
        return (
            exp.EQ(this=subject, expression=text)
            if start
            else exp.Anonymous(this="suffix", expressions=[subject, text])
        )
    return exp.StartsWith(this=subject, expression=text) if start else exp.Contains(this=subject, expression=text)
