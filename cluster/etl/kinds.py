"""What is known of an expression's type, as far as the meaning of a cast hangs on it. What is not known is None."""

from collections.abc import Iterable, Sequence
from typing import Literal

from sqlglot import exp

from services.contracts.etl import PinnedTable

Kind = Literal["fraction", "date", "instant"]
Kinds = dict[str, Kind]
"""Columns and aliases by lower-case name; a name that stands for several kinds is left out."""

_TYPES: tuple[tuple[str, Kind], ...] = (
    ("DECIMAL", "fraction"), ("DOUBLE", "fraction"), ("FLOAT", "fraction"), ("REAL", "fraction"),
    ("DATE", "date"), ("TIMESTAMP", "instant"),
)  # fmt: skip
_FRACTIONS = (exp.Div, exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop, exp.Median)
_DATES = (exp.CurrentDate, exp.TsOrDsToDate, exp.TsOrDsAdd, exp.DateTrunc, exp.LastDay, exp.AddMonths)
_INSTANTS = (exp.CurrentTimestamp, exp.StrToTime, exp.TimestampTrunc, exp.TimestampAdd)
_SAME = (
    exp.Paren, exp.Neg, exp.Sum, exp.Min, exp.Max, exp.AnyValue, exp.First, exp.Last, exp.Lag, exp.Lead, exp.Round,
    exp.Abs, exp.Coalesce, exp.Nullif, exp.Alias, exp.Window, exp.ArgMax, exp.ArgMin, exp.Filter,
)  # fmt: skip


def kinds_of(tables: Iterable[PinnedTable], trees: Sequence[exp.Expr]) -> Kinds:
    """The kinds of the tables' columns, and of the aliases that the statements give to expressions of them."""
    found: dict[str, set[Kind | None]] = {}
    for table in tables:
        for column in table.columns:
            found.setdefault(column.name.lower(), set()).add(_kind_of_type(column.type))
    kinds = _agreed(found)
    for tree in trees:
        for alias in reversed(list(tree.find_all(exp.Alias))):  # the innermost come last
            found.setdefault(alias.alias.lower(), set()).add(kind_of(alias.this, kinds))
            kinds = _agreed(found)
    return kinds


def _agreed(found: dict[str, set[Kind | None]]) -> Kinds:
    return {name: kind for name, kinds in found.items() if len(kinds) == 1 and (kind := next(iter(kinds))) is not None}


def _kind_of_type(name: str) -> Kind | None:
    if name.endswith("]"):
        return None
    return next((kind for start, kind in _TYPES if name.upper().startswith(start)), None)


def kind_of(node: exp.Expr, kinds: Kinds) -> Kind | None:
    """The kind of an expression; None if it is of another, or not known."""
    if isinstance(node, exp.Column):
        return kinds.get(node.name.lower())
    if isinstance(node, exp.Literal):
        return "fraction" if node.is_number and not node.is_int else None
    if isinstance(node, exp.Cast):
        return _kind_of_type(node.to.sql(dialect="duckdb"))
    for classes, kind in ((_FRACTIONS, "fraction"), (_DATES, "date"), (_INSTANTS, "instant")):
        if isinstance(node, classes):
            return kind  # type: ignore[return-value]
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod):
        return _of_sum(node, kinds)
    return kind_of(node.this, kinds) if isinstance(node, _SAME) and isinstance(node.this, exp.Expr) else None


def _of_sum(node: exp.Binary, kinds: Kinds) -> Kind | None:
    left, right = kind_of(node.this, kinds), kind_of(node.expression, kinds)
    if isinstance(node.expression, exp.Interval):
        return left
    return "fraction" if "fraction" in (left, right) else None
