"""From SQL to operations: the way back from a statement, for demonstrations and to go on from a statement by hand.

Raw SQL says more than operations can; what they cannot say is refused with its reason.
"""

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from services.policy.heuristic.reading import Schema
from services.policy.tier.operations import (
    Close,
    Combine,
    Distinct,
    Filter,
    Group,
    Having,
    Item,
    Limit,
    Match,
    Nest,
    Operation,
    Operations,
    Order,
    Project,
    Ref,
    SetOperator,
    Submit,
)
from services.policy.tier.state import IllegalOperation, run
from services.policy.tier.translating.conditions import Condition, clauses
from services.policy.tier.translating.refusal import Untranslatable
from services.policy.tier.translating.scope import Scope
from services.policy.tier.translating.sources import read_sources

__all__ = ["Untranslatable", "translate"]
_MODIFIERS = ("with_", "with", "windows", "qualify", "offset", "pivots", "laterals", "sample")


def translate(sql: str, schema: Schema) -> Operations:
    """The operations that give the statement's result, with a submission last. Raises Untranslatable."""
    try:
        tree = sqlglot.parse_one(sql, read="duckdb")
    except SqlglotError as error:
        raise Untranslatable("cannot be parsed") from error
    operations = (*_query(tree, schema), Submit())
    try:
        run(operations, schema)
    except IllegalOperation as error:
        raise Untranslatable(f"out of order: {error}") from error
    return operations


def _query(tree: exp.Expr, schema: Schema) -> list[Operation]:
    while isinstance(tree, exp.Subquery | exp.Paren):
        tree = tree.this
    for name in _MODIFIERS:
        if tree.args.get(name):
            raise Untranslatable(f"has {name.strip('_').upper()}")
    if isinstance(tree, exp.SetOperation):
        return _combined(tree, schema)
    if isinstance(tree, exp.Select):
        return list(_select(tree, schema))
    raise Untranslatable("no SELECT")


def _combined(tree: exp.SetOperation, schema: Schema) -> list[Operation]:
    left, right = _query(tree.this, schema), _query(tree.expression, schema)
    if any(isinstance(one, Combine) for one in _outermost(right)):
        raise Untranslatable("a set operation within another")
    if any(isinstance(one, Order | Limit) for one in (*_outermost(left), *_outermost(right))):
        raise Untranslatable("an order before a set operation")
    shown = [one.item for one in _outermost(right) if isinstance(one, Project)]
    names = [item.alias_or_name.lower() for item in tree.selects]
    ended: list[Operation] = []
    for ordered in _expressions(tree, "order"):
        item = _placed(ordered.this, names, shown)
        ended.append(Order(item, bool(ordered.args.get("desc"))))
    return [*left, Combine(_operator(tree)), *right, *ended, *_limit(tree)]


def _operator(tree: exp.SetOperation) -> SetOperator:
    match tree:
        case exp.Union():
            return "union" if tree.args.get("distinct") else "union all"
        case exp.Intersect():
            return "intersect"
        case exp.Except():
            return "except"
        case _:
            raise Untranslatable("another set operation")


def _placed(node: exp.Expr, names: list[str], shown: list[Item]) -> Item:
    """The item of the second query that stands where the name does in the first."""
    place = int(node.name) - 1 if isinstance(node, exp.Literal) else names.index(node.name.lower())
    if not 0 <= place < len(shown):
        raise Untranslatable("an order of combined queries by what they do not show")
    return shown[place]


def _outermost(operations: list[Operation]) -> Iterator[Operation]:
    """The operations that are not of a sub-query."""
    depth = 0
    for operation in operations:
        depth -= isinstance(operation, Close)
        if depth == 0:
            yield operation
        depth += isinstance(operation, Nest)


def _select(tree: exp.Select, schema: Schema) -> Iterator[Operation]:
    scope, begun, left_over = read_sources(tree, schema)
    yield from begun
    scope.name_outputs(tree)
    having = tree.args.get("having")
    both = [*clauses(left_over, scope), *(clauses(having.this, scope) if having is not None else ())]
    where = [clause for clause in both if not any(one.item.function for one in clause)]
    for clause in where:
        yield from _clause(clause, schema)
    for node in _expressions(tree, "group"):
        yield Group(_ref(scope.item(scope.output(node))))
    for clause in both:
        if clause not in where:
            yield from _clause(clause, schema)
    yield from _projected(tree, scope)
    if tree.args.get("distinct"):
        yield Distinct()
    ordered: set[Item] = set()
    for node in _expressions(tree, "order"):
        item = scope.order_item(node.this)
        if item not in ordered:
            ordered.add(item)
            yield Order(item, bool(node.args.get("desc")))
    yield from _limit(tree)


def _ref(item: Item) -> Ref:
    if item.ref is None or item.function:
        raise Untranslatable("groups by an expression")
    return item.ref


def _projected(tree: exp.Select, scope: Scope) -> Iterator[Operation]:
    """What is shown; nothing for everything there is."""
    is_star = len(tree.expressions) == 1 and isinstance(tree.expressions[0], exp.Star)
    if not is_star or tree.args.get("group") or scope.order != sorted(scope.order):
        for node in tree.expressions:
            yield from scope.projects(node)


def _clause(clause: list[Condition], schema: Schema) -> Iterator[Operation]:
    """The alternatives, one operation each; a sub-query between its own two."""
    for i, one in enumerate(clause):
        either = i > 0
        if one.query is not None:
            yield Nest(one.item, one.membership(), either)
            yield from _query(one.query, schema)
            yield Close()
        elif one.other is not None:
            yield Match(_ref(one.item), one.membership(), one.other, either)
        elif one.item.function:
            yield Having(one.item, one.comparison(), one.values, either)
        else:
            yield Filter(_ref(one.item), one.comparison(), one.values, either)


def _limit(tree: exp.Expr) -> Iterator[Operation]:
    limit = tree.args.get("limit")
    if limit is not None:
        if not isinstance(limit.expression, exp.Literal) or not limit.expression.is_int:
            raise Untranslatable("a limit that is no number")
        yield Limit(int(limit.expression.name))


def _expressions(tree: exp.Expr, clause: str) -> list[exp.Expr]:
    node = tree.args.get(clause)
    return list(node.expressions) if node is not None else []
