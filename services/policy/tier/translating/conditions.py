"""Conditions: a WHERE or HAVING as clauses of alternatives (conjunctive normal form)."""

from dataclasses import dataclass, replace
from itertools import product

from sqlglot import exp

from services.policy.tier.operations import COMPARISONS, MEMBERSHIPS, Comparison, Item, Membership, Ref, Scalar
from services.policy.tier.translating.refusal import Untranslatable
from services.policy.tier.translating.scope import Scope

MOST_CLAUSES = 16
_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "!=", exp.GT: ">", exp.LT: "<", exp.GTE: ">=", exp.LTE: "<=", exp.Like: "like",
    exp.ILike: "like",
}  # fmt: skip
_FLIPPED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
_DENIED = {
    "=": "!=", "!=": "=", ">": "<=", "<": ">=", ">=": "<", "<=": ">", "like": "not like", "not like": "like",
    "in": "not in", "not in": "in", "is null": "is not null", "is not null": "is null",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """An item compared with values, a column or a query."""

    item: Item
    operator: str
    values: tuple[Scalar, ...] = ()
    other: Ref | None = None
    query: exp.Expr | None = None

    def comparison(self) -> Comparison:
        """The operator, of those that take values."""
        if self.operator not in COMPARISONS:
            raise Untranslatable(f"{self.operator} with values")
        return self.operator

    def membership(self) -> Membership:
        """The operator, of those that take a column or a query."""
        if self.operator not in MEMBERSHIPS:
            raise Untranslatable(f"{self.operator} with a query or a column")
        return self.operator


def clauses(node: exp.Expr | None, scope: Scope) -> list[list[Condition]]:
    """Clauses of which each has to hold, by one of its alternatives. Raises Untranslatable."""
    match node:
        case None:
            return []
        case exp.Paren():
            return clauses(node.this, scope)
        case exp.And():
            return [*clauses(node.this, scope), *clauses(node.expression, scope)]
        case exp.Or():
            return _either(node, scope)
        case exp.Not():
            return _denied(clauses(node.this, scope))
        case exp.In() if not node.args.get("query"):
            return [[_compare(node.this, value, "=", scope) for value in node.expressions]]
        case _:
            return [[_condition(node, scope)]]


def _either(node: exp.Or, scope: Scope) -> list[list[Condition]]:
    left = clauses(node.this, scope)
    if _is_text_beside_numbers(node.expression):
        return left
    spread = [[*one, *other] for one, other in product(left, clauses(node.expression, scope))]
    if len(spread) > MOST_CLAUSES:
        raise Untranslatable("too many alternatives")
    return spread


def _is_text_beside_numbers(node: exp.Expr) -> bool:
    """Whether it is the part by which a text counts as larger than any number, as SQLite has it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return isinstance(node, exp.And) and isinstance(node.this, exp.Is) and isinstance(node.this.this, exp.TryCast)


def _denied(inner: list[list[Condition]]) -> list[list[Condition]]:
    """What holds where the clauses do not: of one clause each alternative is denied."""
    if len(inner) == 1:
        return [[_deny(one)] for one in inner[0]]
    if all(len(clause) == 1 for clause in inner):
        return [[_deny(clause[0]) for clause in inner]]
    raise Untranslatable("NOT of a mixture")


def _deny(one: Condition) -> Condition:
    if one.operator not in _DENIED:
        raise Untranslatable(f"not {one.operator}")
    return replace(one, operator=_DENIED[one.operator])


def _condition(node: exp.Expr, scope: Scope) -> Condition:
    match node:
        case exp.In():
            return Condition(scope.item(node.this), "in", query=node.args["query"])
        case exp.Is():
            if not isinstance(node.expression, exp.Null):
                raise Untranslatable("IS with another than NULL")
            return Condition(scope.item(node.this), "is null")
        case exp.Between():
            values = (_value(node.args["low"]), _value(node.args["high"]))
            return Condition(scope.item(node.this), "between", values)
        case exp.Exists():
            raise Untranslatable("EXISTS")
        case exp.Binary() if type(node) in _OPERATORS:
            one = _compare(node.this, node.expression, _OPERATORS[type(node)], scope)
            return _deny(one) if node.args.get("negate") else one
        case _:
            raise Untranslatable(f"a condition: {type(node).__name__}")


def _compare(left: exp.Expr, right: exp.Expr, operator: str, scope: Scope) -> Condition:
    if is_value(left) or _query_in(left) is not None:
        left, right, operator = right, left, _FLIPPED.get(operator, operator)
    query = _query_in(right)
    if query is not None:
        return Condition(scope.item(left), operator, query=query)
    if is_value(right):
        return Condition(scope.item(left), operator, (_value(right),))
    other = scope.item(right)
    if other.function or other.ref is None:
        raise Untranslatable("functions compared with each other")
    return Condition(scope.item(left), operator, other=other.ref)


def _query_in(node: exp.Expr) -> exp.Expr | None:
    while isinstance(node, exp.Cast | exp.TryCast | exp.Paren):
        node = node.this
    return node if isinstance(node, exp.Subquery | exp.Select) else None


def is_value(node: exp.Expr) -> bool:
    """Whether it is a literal, in whatever type."""
    while isinstance(node, exp.Cast | exp.TryCast | exp.Paren | exp.Neg):
        node = node.this
    return isinstance(node, exp.Literal)


def _value(node: exp.Expr) -> Scalar:
    match node:
        case exp.Paren():
            return _value(node.this)
        case exp.Neg():
            value = _value(node.this)
            return value if isinstance(value, str) else -value
        case exp.Cast() | exp.TryCast():
            inner = _value(node.this)
            return str(inner) if node.to.is_type(*exp.DataType.TEXT_TYPES) else inner
        case exp.Literal():
            if node.is_string:
                return node.name
            return int(node.name) if node.is_int else float(node.name)
        case _:
            raise Untranslatable("compares with an expression")
