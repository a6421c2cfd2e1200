"""Compiling: a state as SQL in DuckDB's dialect, by way of sqlglot's syntax tree.

Invariant: names are quoted and values are literals of the tree, so that neither can become syntax.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from services.policy.heuristic.reading import Schema
from services.policy.tier.frames import (
    NUMBER,
    Clause,
    Frame,
    Shown,
    Source,
    State,
    Test,
    all_refs,
    item_kind,
    result_kinds,
    width,
)
from services.policy.tier.operations import Item, Ref, Scalar

_NUMBER_START = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_COMPARE: dict[str, type[exp.Binary]] = {
    "=": exp.EQ, "!=": exp.NEQ, ">": exp.GT, "<": exp.LT, ">=": exp.GTE, "<=": exp.LTE,
}  # fmt: skip
_FUNCTIONS: dict[str, type[exp.AggFunc]] = {
    "count": exp.Count, "sum": exp.Sum, "avg": exp.Avg, "min": exp.Min, "max": exp.Max,
}  # fmt: skip
_COMBINE: dict[str, tuple[type[exp.SetOperation], bool]] = {
    "union": (exp.Union, True), "union all": (exp.Union, False),
    "intersect": (exp.Intersect, True), "except": (exp.Except, True),
}  # fmt: skip
_ARITHMETIC: dict[str, type[exp.Binary]] = {"+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div}


def compile_state(state: State, schema: Schema) -> str:
    """The partial result of a state: its innermost frame, which must have a source, as a whole query.

    It is combined with the queries before it once it shows as many columns as they do.
    """
    frame = state.frame
    alone = frame.before is not None and width(frame, schema) != width(frame.before[0], schema)
    return compile_frame(replace(frame, before=None) if alone else frame, schema)


def compile_frame(frame: Frame, schema: Schema) -> str:
    """The frame as one statement."""
    return _query(frame, schema).sql(dialect="duckdb")


def _query(frame: Frame, schema: Schema) -> exp.Query:
    if frame.before is None:
        return _Select(frame, schema).tree()
    before, operator = frame.before
    kind, distinct = _COMBINE[operator]
    mine = _Select(frame, schema)
    ordered = (exp.Ordered(this=mine.place(item), desc=down, nulls_first=not down) for item, down in frame.order)
    first = _query(before, schema)
    first = first if before.before is None else exp.Subquery(this=first)  # INTERSECT would bind tighter than the others
    query = kind(this=first, expression=mine.core(), distinct=distinct)
    return _ended(query, list(ordered), frame.limit)


def _ended(query: exp.Query, ordered: Sequence[exp.Expr], limit: int) -> exp.Query:
    if ordered:
        query.set("order", exp.Order(expressions=list(ordered)))
    if limit:
        query.set("limit", exp.Limit(expression=exp.Literal.number(limit)))
    return query


class _Select:
    """One frame, without the queries before it, as a syntax tree."""

    def __init__(self, frame: Frame, schema: Schema) -> None:
        self._frame = frame
        self._schema = schema
        functions = {item for one in frame.shown for item in one.items if item.function}
        only = next(iter(functions)) if len(functions) == 1 else None
        self._extreme = only if only is not None and only.function in ("min", "max") else None

    def tree(self) -> exp.Query:
        ordered = (
            exp.Ordered(this=self.item(item), desc=down, nulls_first=not down) for item, down in self._frame.order
        )
        return _ended(self.core(), list(ordered), self._frame.limit)

    def core(self) -> exp.Select:
        """Without order and limit."""
        frame = self._frame
        select = exp.Select(expressions=self._shown()).from_(_table(frame.sources[0], 0), copy=False)
        for number, source in enumerate(frame.sources[1:], 1):
            select = self._joined(select, number, source)
        if frame.where:
            select.set("where", exp.Where(this=self._all(frame.where)))
        if frame.group:
            select.set("group", exp.Group(expressions=[_column(ref) for ref in frame.group]))
        if frame.having:
            select.set("having", exp.Having(this=self._all(frame.having)))
        return select.distinct(copy=False) if frame.distinct else select

    def item(self, item: Item) -> exp.Expr:
        """The item as it is shown and ordered by: among groups, the value of some row of each."""
        if item.ref is None:
            return exp.Count(this=exp.Star())
        column = _column(item.ref)
        if item.function:
            inner = self._measure(item.ref) if item.function in ("sum", "avg") else column
            return _FUNCTIONS[item.function](this=exp.Distinct(expressions=[inner]) if item.distinct else inner)
        if not self._frame.grouped or item.ref in self._frame.group:
            return column
        if self._extreme is not None and self._extreme.ref is not None:
            kind = exp.ArgMax if self._extreme.function == "max" else exp.ArgMin
            return kind(this=column, expression=_column(self._extreme.ref))
        return exp.AnyValue(this=column)

    def place(self, item: Item) -> exp.Expr:
        """The item by its place among what is shown, as combined queries are ordered."""
        return exp.Literal.number(self._frame.shown.index(Shown(item)) + 1)

    def _shown(self) -> list[exp.Expr]:
        frame = self._frame
        refs = frame.group if frame.group or frame.before is None else all_refs(frame, self._schema)
        shown = [self._one(one) for one in frame.shown] or [_column(ref) for ref in refs] or [exp.Star()]
        if frame.before is None:
            return shown
        kinds = zip(result_kinds(frame, self._schema), result_kinds(frame.before[0], self._schema), strict=True)
        return [one if mine == theirs else _text(one) for one, (mine, theirs) in zip(shown, kinds, strict=True)]

    def _one(self, shown: Shown) -> exp.Expr:
        if shown.other is None or shown.operator is None:
            return self.item(shown.item)
        return _ARITHMETIC[shown.operator](this=self._number(shown.item), expression=self._number(shown.other))

    def _number(self, item: Item) -> exp.Expr:
        """The item to compute with."""
        return self.item(item) if self._kind(item) == NUMBER else _leading_number(self.item(item))

    def _joined(self, select: exp.Select, number: int, source: Source) -> exp.Select:
        if source.left is None:
            return select.join(_table(source, number), join_type="cross", copy=False)
        kind = "left" if source.outer else "inner"
        on = self._equal(source.left, Ref(number, source.column))
        return select.join(_table(source, number), on=on, join_type=kind, copy=False)

    def _equal(self, left: Ref, right: Ref, operator: str = "=") -> exp.Expr:
        """Two columns compared: as numbers where one of them holds numbers, as text where their types differ."""
        kinds = [self._kind(Item(ref)) for ref in (left, right)]
        sides = [_column(left), _column(right)]
        if NUMBER in kinds:
            sides = [side if kind == NUMBER else _number(side) for side, kind in zip(sides, kinds, strict=True)]
        elif kinds[0] != kinds[1]:
            sides = list(map(_text, sides))
        return _COMPARE[operator](this=sides[0], expression=sides[1])

    def _all(self, clauses: Sequence[Clause]) -> exp.Expr:
        tests = [[self._test(test) for test in clause] for clause in clauses]
        return exp.and_(*(one[0] if len(one) == 1 else exp.or_(*one) for one in tests))

    def _test(self, test: Test) -> exp.Expr:
        if test.query is not None:
            return self._nested(test, test.query)
        if test.other is not None and test.item.ref is not None:
            return self._equal(test.item.ref, test.other, test.operator)
        match test.operator:
            case "is null" | "is not null":
                null = exp.Is(this=self._plain(test.item), expression=exp.null())
                return null if test.operator == "is null" else exp.not_(null)
            case "like" | "not like":
                text = exp.Cast(this=self._plain(test.item), to=exp.DataType.build("TEXT"))
                like = exp.ILike(this=text, expression=_literal(str(test.values[0])))
                return like if test.operator == "like" else exp.not_(like)
            case "between":
                return exp.and_(self._valued(test, ">=", 0), self._valued(test, "<=", 1))
            case _:
                return self._valued(test, test.operator, 0)

    def _valued(self, test: Test, operator: str, place: int) -> exp.Expr:
        value = test.values[place]
        return _COMPARE[operator](this=self._side(test.item, value), expression=_literal(value))

    def _nested(self, test: Test, query: Frame) -> exp.Expr:
        inner, item = exp.Subquery(this=_query(query, self._schema)), self._plain(test.item)
        mine, theirs = self._kind(test.item), _only_kind(query, self._schema)
        if test.operator in ("in", "not in"):
            if mine != theirs:
                item = _number(item) if theirs == NUMBER else _text(item)
            within = exp.In(this=item, query=inner)
            return within if test.operator == "in" else exp.not_(within)
        sides = [item, inner]
        if NUMBER in (mine, theirs):
            sides = [item if mine == NUMBER else _number(item), inner if theirs == NUMBER else _number(inner)]
        elif mine != theirs:
            sides = list(map(_text, sides))
        return _COMPARE[test.operator](this=sides[0], expression=sides[1])

    def _side(self, item: Item, value: Scalar) -> exp.Expr:
        """The item, made comparable with the value: numbers with numbers, text with text."""
        plain, kind = self._plain(item), self._kind(item)
        if isinstance(value, str):
            return plain if kind == "VARCHAR" else _text(plain)
        return plain if kind == NUMBER else _number(plain)

    def _plain(self, item: Item) -> exp.Expr:
        return _column(item.ref) if item.ref is not None and not item.function else self.item(item)

    def _measure(self, ref: Ref) -> exp.Expr:
        """The column as numbers; of a text the number that it begins with, or 0, as SQLite has it."""
        return _column(ref) if self._kind(Item(ref)) == NUMBER else _leading_number(_column(ref))

    def _kind(self, item: Item) -> str:
        return item_kind(self._frame, item, self._schema)


def _table(source: Source, number: int) -> exp.Table:
    return exp.Table(this=exp.to_identifier(source.table, quoted=True), alias=exp.TableAlias(this=_alias(number)))


def _alias(number: int) -> exp.Identifier:
    return exp.to_identifier(f"t{number + 1}")


def _column(ref: Ref) -> exp.Expr:
    return exp.Column(this=exp.to_identifier(ref.column, quoted=True), table=_alias(ref.source))


def _literal(value: Scalar) -> exp.Expr:
    if isinstance(value, str):
        return exp.Literal.string(value.replace("\0", "\N{REPLACEMENT CHARACTER}"))
    if isinstance(value, float) and not math.isfinite(value):
        return exp.null()
    number = exp.Literal.number(abs(value))
    return exp.Neg(this=number) if value < 0 else number


def _only_kind(query: Frame, schema: Schema) -> str:
    """The kind of a query's one column: text where queries of different kinds are combined."""
    kind = result_kinds(query, schema)[0]
    return kind if query.before is None or kind == _only_kind(query.before[0], schema) else "VARCHAR"


def _number(node: exp.Expr) -> exp.Expr:
    return exp.TryCast(this=_text(node), to=exp.DataType.build("DOUBLE"))


def _text(node: exp.Expr) -> exp.Expr:
    return exp.Cast(this=node, to=exp.DataType.build("TEXT"))


def _leading_number(node: exp.Expr) -> exp.Expr:
    start = exp.func("REGEXP_EXTRACT", _text(node), exp.Literal.string(_NUMBER_START))
    number = exp.func("COALESCE", _number(start), exp.Literal.number(0))
    return exp.case().when(exp.not_(exp.Is(this=node.copy(), expression=exp.null())), number)
