"""What is known of an expression's value, from the columns and functions that it is made of.

Invariant: a kind of node that is not named here is a finding of class F.
"""

from collections.abc import Callable

from sqlglot import exp

from services.grader.etl.nondeterminism.aggregates import aggregate
from services.grader.etl.nondeterminism.facts import Facts, Finding, Findings, Relation, hardened, merged
from services.grader.etl.nondeterminism.frames import Frame
from services.grader.etl.nondeterminism.functions import gives_float, name_of, nature_of
from services.grader.etl.nondeterminism.windows import windowed

ReadQuery = Callable[[exp.Query, Frame], Relation]
"""Reads a subquery within the frame around it."""

CONSTANTS = (exp.Literal, exp.Null, exp.Boolean, exp.Star, exp.DataType, exp.Identifier, exp.Var, exp.HexString)
CONTINUOUS = (
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg, exp.Paren, exp.Abs, exp.Sqrt, exp.Ln, exp.Exp, exp.Log, exp.Pow,
    exp.Coalesce, exp.Greatest, exp.Least, exp.Alias,
)  # fmt: skip
"""A drift of an argument stays a drift of the result."""
PREDICATES = (exp.Predicate, exp.Connector, exp.Not, exp.Between, exp.In, exp.Is, exp.Like, exp.ILike, exp.Glob)
PLAIN = (
    exp.Binary, exp.Unary, exp.Bracket, exp.Dot, exp.Tuple, exp.Lambda, exp.Kwarg, exp.PropertyEQ, exp.Interval,
    exp.IntervalSpan, exp.Slice, exp.Struct, exp.Array, exp.Ordered, exp.Order, exp.Distinct, exp.Collate,
    exp.AtTimeZone, exp.Aliases, exp.Cast, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript,
    exp.Where, exp.Having, exp.Qualify, exp.Escape, exp.List, exp.ColumnDef, exp.IgnoreNulls, exp.RespectNulls,
    exp.HavingMax, exp.WithinGroup, exp.Placeholder, exp.JSONExtract,
)  # fmt: skip


class Expressions:
    """Reads expressions. Subqueries are read by the function that it is given."""

    def __init__(self, read: ReadQuery) -> None:
        self._read = read

    def facts(self, node: exp.Expr, frame: Frame) -> Facts:
        """What is known of an expression's value in each row. Raises NotUnderstood."""
        node = frame.plain(node)
        if isinstance(node, exp.Column):
            return self._column(node, frame)
        if isinstance(node, CONSTANTS):
            return Facts(floating=isinstance(node, exp.Literal) and "e" in node.name.lower(), derived=False)
        if isinstance(node, exp.Query):
            return self._scalar(node, frame)
        if isinstance(node, exp.Exists):
            return self._exists(node, frame)
        if isinstance(node, exp.Window):
            return windowed(node, frame, self.facts)
        if isinstance(node, exp.Func | exp.Filter | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
            return self._function(node, frame)
        return self._parts(node, frame)

    def decided(self, node: exp.Expr, frame: Frame, use: str) -> Findings:
        """The findings of an expression that decides something: none of them is a mere drift."""
        return hardened(self.facts(node, frame).findings, use)

    def _column(self, node: exp.Column, frame: Frame) -> Facts:
        output = frame.output(node)
        return self.facts(output, frame) if output is not node else frame.facts(node)

    def _scalar(self, node: exp.Query, frame: Frame) -> Facts:
        relation = self._read(node, frame)
        value = merged(relation.columns.values())
        return Facts(value.findings | relation.rows, value.floating, derived=True)

    def _exists(self, node: exp.Exists, frame: Frame) -> Facts:
        query = node.this.copy()
        count = query.args.get("limit")
        if count is not None and not query.args.get("offset") and count.expression.name not in ("", "0"):
            query.set("limit", None)
        return Facts(hardened(self._read(query, frame).rows, "EXISTS"), floating=False)

    def _function(self, node: exp.Expr, frame: Frame) -> Facts:
        inner = node
        while isinstance(inner, exp.Filter | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
            inner = inner.this
        nature = nature_of(inner) if isinstance(inner, exp.Func) else "plain"
        name = name_of(inner)
        if nature == "aggregate":
            return aggregate(node, frame, self.facts)
        if isinstance(inner, exp.Cast | exp.Case | exp.If):
            return self._branching(inner, frame)
        found = self._parts(inner, frame)
        if nature == "volatile":
            reason = f"{name}() has another value in each run"
            return Facts(found.findings | {Finding("A", reason, name)}, name in ("random", "rand"), found.derived)
        if nature == "unknown":
            return found.adding([Finding("F", f"{name}() is no function that is known", name)])
        if name in ("list_sort", "array_sort", "list_reverse_sort", "sort_array"):
            return self._sorted(inner, frame) or found
        floating = gives_float(name, found.floating)
        if isinstance(inner, exp.Extract):
            floating = inner.name.lower() in ("epoch", "julian")
        return Facts(found.findings, floating, found.derived)

    def _branching(self, node: exp.Expr, frame: Frame) -> Facts:
        """CAST, CASE and IF: a drift survives in a value, not in a condition, nor in a type without fractions."""
        if isinstance(node, exp.Cast):
            value, to = self.facts(node.this, frame), node.to.sql("duckdb").upper()
            floating = any(name in to for name in ("DOUBLE", "FLOAT", "REAL"))
            findings = value.findings if to == "DOUBLE" else hardened(value.findings, f"CAST to {to}")
            return Facts(findings, floating, value.derived)
        branches = node.args["ifs"] if isinstance(node, exp.Case) else [node]
        default = node.args.get("default") or node.args.get("false")
        conditions = [branch.this for branch in branches]
        if isinstance(node, exp.Case) and node.this is not None:
            conditions.append(node.this)
        values = merged(self.facts(part.args["true"], frame) for part in branches)
        if default is not None:
            values = merged([values, self.facts(default, frame)])
        decided = merged(self.facts(condition, frame) for condition in conditions)
        found = values.findings | hardened(decided.findings, "a condition")
        return Facts(found, values.floating, values.derived or decided.derived)

    def _sorted(self, node: exp.Expr, frame: Frame) -> Facts | None:
        """A list that is sorted as a whole: the order in which it was gathered is gone."""
        if not isinstance(node.this, exp.ArrayAgg) or has_order(node.this):
            return None
        gathered = node.this.this
        value = self.facts(gathered.expressions[0] if isinstance(gathered, exp.Distinct) else gathered, frame)
        return Facts(hardened(value.findings, "the order of a list") | frame.rows, value.floating, True)

    def _parts(self, node: exp.Expr, frame: Frame) -> Facts:
        """A value made of all the parts of a node."""
        parts = [self.facts(part, frame) for part in node.iter_expressions()]
        whole = merged(parts)
        if isinstance(node, exp.Array) and any(isinstance(part, exp.Query) for part in node.expressions):
            return whole.adding([Finding("C", "ARRAY(SELECT …) keeps the order in which rows come", "array")])
        if isinstance(node, CONTINUOUS):
            return Facts(whole.findings, whole.floating or isinstance(node, exp.Div), whole.derived)
        if isinstance(node, PREDICATES):
            return Facts(hardened(whole.findings, f"the comparison {_short(node)}"), False, whole.derived)
        if isinstance(node, (*PLAIN, exp.Func)):
            return Facts(hardened(whole.findings, _short(node)), whole.floating, whole.derived)
        return whole.adding([Finding("F", f"{type(node).__name__} is not understood: {_short(node)}")])


def has_order(node: exp.Expr) -> bool:
    """Whether an aggregate has an ORDER BY or a LIMIT of its own."""
    return any(isinstance(part, exp.Order | exp.Limit) for part in node.iter_expressions())


def _short(node: exp.Expr) -> str:
    text = node.sql("duckdb")
    return text if len(text) <= 60 else f"{text[:57]}…"
