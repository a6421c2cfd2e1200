"""Rules that make a condition cheap: functions of a column become ranges, casts and cleaning of clean text go."""

import re
from collections.abc import Callable, Iterator
from datetime import date

from sqlglot import exp

from services.policy.rewriter.facts import INTEGERS
from services.policy.rewriter.patterns import is_iso_date, is_plain_integer, plain_test
from services.policy.rewriter.sites import Place, Site, conjuncts, own, set_where

_FORMATS = {"%Y": "-01-01", "%Y-%m": "-01", "%Y-%m-%d": ""}
_DATED = ("DATE", "TIMESTAMP")
Change = Callable[[], None]


def replaced(node: exp.Expr, new: exp.Expr) -> Change:
    """The change that puts one node in another's place."""

    def change() -> None:
        node.replace(new)

    return change


def date_parts(place: Place) -> Iterator[Site]:
    """year(), month() or strftime() of a DATE or TIMESTAMP compared with constants: a range, which skips row groups."""
    select = place.select
    parts = conjuncts(select.args.get("where")) if select else []
    years = [(part, *found) for part in parts if (found := _part_test(place, part, "YEAR"))]
    months = [(part, *found) for part in parts if (found := _part_test(place, part, "MONTH"))]
    for number, (part, subject, year) in enumerate(years):
        month = next(((other, value) for other, of, value in months if of == subject), None)
        gone = [part, *([month[0]] if month else [])]
        if 1 <= year <= 9000 and (month is None or 1 <= month[1] <= 12):
            bounds = _bounds(year, month[1] if month else None, None)
            yield f"year{number}", _into_range(place, gone, subject, bounds)
    for number, part in enumerate(parts):
        read = _format_test(place, part)
        if read is not None:
            yield f"format{number}", _into_range(place, [part], *read)


def _part_test(place: Place, part: exp.Expr, name: str) -> tuple[exp.Column, int] | None:
    if not isinstance(part, exp.EQ):
        return None
    for one, other in ((part.left, part.right), (part.right, part.left)):
        subject = _part_of(one, name)
        if place.type_of(subject) in _DATED and isinstance(other, exp.Literal) and other.is_int:
            return subject, int(other.this)  # type: ignore[return-value]
    return None


def _part_of(node: exp.Expr, name: str) -> exp.Expr | None:
    if isinstance(node, exp.Year | exp.Month) and type(node).__name__.upper() == name:
        return _uncast(node.this)
    if isinstance(node, exp.Extract) and node.name.upper() == name:
        return _uncast(node.expression)
    if isinstance(node, exp.Anonymous) and node.name.lower() in ("date_part", "datepart"):
        return _uncast(node.expressions[1]) if node.expressions[0].name.upper() == name else None
    return None


def _uncast(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node, exp.Cast) and node.to.is_type("date") else node


def _format_test(place: Place, part: exp.Expr) -> tuple[exp.Column, tuple[str, str]] | None:
    """strftime(column, format) = 'text', where the format names a year, a month or a day."""
    if not isinstance(part, exp.EQ):
        return None
    one, text = part.left, part.right
    if not isinstance(one, exp.TimeToStr) or not isinstance(text, exp.Literal) or not text.is_string:
        return None
    subject, given = _uncast(one.this), one.args["format"].name
    rest = _FORMATS.get(given)
    if place.type_of(subject) not in _DATED or rest is None or not isinstance(subject, exp.Column):
        return None
    try:
        day = date.fromisoformat(text.name + rest)
    except ValueError:
        return None
    if not 1000 <= day.year <= 9000:
        return None
    return subject, _bounds(day.year, day.month if given != "%Y" else None, day.day if given == "%Y-%m-%d" else None)


def _bounds(year: int, month: int | None, day: int | None) -> tuple[str, str]:
    """The first day and the one after the last."""
    first = date(year, month or 1, day or 1)
    if day:
        return first.isoformat(), date.fromordinal(first.toordinal() + 1).isoformat()
    after = date(year + 1, 1, 1) if month in (None, 12) else date(year, month + 1, 1)
    return first.isoformat(), after.isoformat()


def _into_range(place: Place, gone: list[exp.Expr], subject: exp.Expr, bounds: tuple[str, str]) -> Change:
    def change() -> None:
        select = place.scope.expression
        kind = place.type_of(subject)
        low, high = (exp.cast(exp.Literal.string(bound), kind) for bound in bounds)
        new = [exp.GTE(this=subject.copy(), expression=low), exp.LT(this=subject.copy(), expression=high)]
        kept = [part for part in conjuncts(select.args.get("where")) if not any(part is old for old in gone)]
        set_where(select, [*kept, *new])

    return change


_CLEANERS = (exp.Lower, exp.Upper, exp.Trim)
_FLIPPED = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def text_dates(place: Place) -> Iterator[Site]:
    """strptime() or a cast of a text that is declared to be an ISO date, compared with a day: compare the texts."""
    select = place.select
    for number, test in enumerate(own(select, *_FLIPPED, exp.Between) if select else ()):
        sides = [name for name in ("this", "expression", "low", "high") if isinstance(test.args.get(name), exp.Expr)]
        read = [name for name in sides if _iso_text(place, test.args[name]) is not None]
        days = {name: _day(test.args[name]) for name in sides if name not in read}
        if len(read) == 1 and all(days.values()):

            def change(test: exp.Expr = test, name: str = read[0], days: dict[str, str | None] = days) -> None:
                test.set(name, _iso_text(place, test.args[name]).copy())  # type: ignore[union-attr]
                for other, day in days.items():
                    test.set(other, exp.Literal.string(str(day)))

            yield f"text{number}", change


def _iso_text(place: Place, node: exp.Expr) -> exp.Expr | None:
    while isinstance(node, exp.Cast) and node.to.is_type("date", "timestamp", "timestampntz"):
        node = node.this
    cast = node.parent
    if isinstance(node, exp.StrToTime) and node.args["format"].name == "%Y-%m-%d":
        node = node.this
    elif not (isinstance(node, exp.Column) and isinstance(cast, exp.Cast)):
        return None
    origin = place.origin(node)
    if origin is None or place.facts.type_of(*origin) != "VARCHAR":
        return None
    return node if any(map(is_iso_date, place.facts.patterns(*origin))) else None


def _day(node: exp.Expr) -> str | None:
    """The day that a constant DATE, or a TIMESTAMP at midnight, is."""
    if (
        not isinstance(node, exp.Cast)
        or not node.to.is_type("date", "timestamp", "timestampntz")
        or not node.this.is_string
    ):
        return None
    found = re.fullmatch(r"(\d{4}-\d{2}-\d{2})(?: 00:00:00)?", node.this.name)
    return found[1] if found else None


def clean_text(place: Place) -> Iterator[Site]:
    """lower(), upper() or trim() of text that is so already by its declared format: the text itself, wherever it is."""
    seen: list[exp.Expr] = []
    for node in own(place.select, *_CLEANERS):
        subject = node.this
        while isinstance(subject, _CLEANERS):
            subject = subject.this
        origin = place.origin(subject)
        allowed = place.facts.characters(*origin) if origin else None
        if allowed is not None and node not in seen and _changes_nothing(node, allowed):
            yield f"clean{len(seen)}", _cleaned(place, node, subject)
            seen.append(node)


def _cleaned(place: Place, node: exp.Expr, subject: exp.Expr) -> Change:
    def change() -> None:
        old, new = node.copy(), subject.copy()
        for found in [found for found in own(place.select, *_CLEANERS) if found == old]:
            found.replace(new.copy())

    return change


def _changes_nothing(node: exp.Expr, allowed: frozenset[str]) -> bool:
    while isinstance(node, _CLEANERS):
        if isinstance(node, exp.Lower) and any(letter != letter.lower() for letter in allowed):
            return False
        if isinstance(node, exp.Upper) and any(letter != letter.upper() for letter in allowed):
            return False
        if isinstance(node, exp.Trim) and (node.args.get("expression") or any(map(str.isspace, allowed))):
            return False
        node = node.this
    return True


def casts_in_equality(place: Place) -> Iterator[Site]:
    """Two integers or two dates compared as texts: compare them as they are; so too a text that is an integer's."""
    select = place.select
    for number, test in enumerate(own(select, exp.EQ) if select else ()):
        left, right = _untexted(test.this), _untexted(test.expression)
        kinds = {_family(place.type_of(left)), _family(place.type_of(right))}
        if left is not None and right is not None and len(kinds) == 1 and kinds != {""}:
            yield f"cast{number}", replaced(test, exp.EQ(this=left.copy(), expression=right.copy()))
        for cast, text in ((left, test.expression), (right, test.this)):
            origin = place.origin(text)
            if cast is None or origin is None or _family(place.type_of(cast)) != "integer":
                continue
            if place.facts.type_of(*origin) == "VARCHAR" and any(map(is_plain_integer, place.facts.patterns(*origin))):
                number_of = exp.cast(text.copy(), "BIGINT")
                yield f"digits{number}", replaced(test, exp.EQ(this=cast.copy(), expression=number_of))


def _untexted(node: exp.Expr) -> exp.Expr | None:
    """The column that is cast to text here."""
    return node.this if isinstance(node, exp.Cast) and node.to.is_type("text") else None


def _family(kind: str) -> str:
    return "integer" if kind in INTEGERS else "date" if kind == "DATE" else ""


def regex_prefix(place: Place) -> Iterator[Site]:
    """A regular expression that is a plain prefix, suffix, part or whole: the test without it."""
    select = place.select
    for number, node in enumerate(own(select, exp.RegexpLike) if select else ()):
        pattern = node.expression
        if isinstance(pattern, exp.Literal) and pattern.is_string and not node.args.get("flag"):
            test = plain_test(node.this.copy(), pattern.name)
            if test is not None and place.type_of(node.this) == "VARCHAR":
                yield f"regex{number}", replaced(node, test)
