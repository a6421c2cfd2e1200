"""Constants that queries compare columns with: values at and beside which right and wrong queries part."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from services.grader.variants.relations import Tables

Hints = dict[tuple[str, int], list[object]]
"""By (lower-case table, place of the column): values worth drawing, sorted by their text."""
_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike)


def parse(sql: str) -> exp.Expr | None:
    """The tree of a DuckDB query; None if it cannot be read."""
    try:
        return sqlglot.parse_one(sql, read="duckdb")
    except (SqlglotError, RecursionError):
        return None


def hints_of(trees: Iterable[exp.Expr], tables: Tables) -> Hints:
    """What the queries' constants suggest for each column of the same name."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for column, constant in _comparisons(tree):
            by_name[column].add(constant)
    hints: Hints = {}
    for table, relation in tables.items():
        for place, (name, kind) in enumerate(relation.columns):
            found = {repr(v): v for text in by_name.get(name.lower(), ()) for v in _near(text, kind)}
            if found:
                hints[table, place] = [found[key] for key in sorted(found)]
    return hints


def _comparisons(tree: exp.Expr) -> list[tuple[str, str]]:
    """(lower-case column, constant as text) for every comparison of a column with a constant."""
    found = []
    for node in tree.find_all(*_COMPARED, exp.In, exp.Between):
        columns = {column.name.lower() for column in node.find_all(exp.Column)}
        for literal in node.find_all(exp.Literal):
            found += [(column, str(literal.this)) for column in columns]
    return found


def _near(text: str, kind: str) -> list[object]:
    """The constant as the column would hold it, and its neighbours."""
    if kind == "VARCHAR":
        bare = text.replace("%", "").replace("_", " ").strip() if "%" in text else text
        if "%" in text:
            return [bare, f"{bare}s", f"New {bare}"] if bare else []
        return [text] if any(map(str.isdigit, text)) or len(text) < 3 else [text, f"{text} Plus", f"New {text}"]
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _near_day(text, kind)
    if not number.is_finite():
        return []
    if kind in ("DOUBLE", "FLOAT"):
        return [float(number), float(number) - 1, float(number) + 1]
    if kind.startswith("DECIMAL"):
        return [number, number - 1, number + 1]
    whole = int(number)
    return [whole, whole - 1, whole + 1] if kind.endswith(("INT", "INTEGER")) and abs(whole) < 2**31 else []


def _near_day(text: str, kind: str) -> list[object]:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return []
    day = timedelta(days=1)
    if kind == "DATE":
        return [date(moment.year, moment.month, moment.day) + step for step in (-day, 0 * day, day)]
    return [moment - day, moment, moment + day] if kind == "TIMESTAMP" else []
