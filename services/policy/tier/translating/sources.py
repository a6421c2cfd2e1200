"""Sources: FROM and JOIN of one SELECT as scans and joins, each along a key from a table already there."""

from dataclasses import dataclass

from sqlglot import exp

from services.policy.heuristic.reading import Schema, Table
from services.policy.tier.operations import Join, Operation, Ref, Scan
from services.policy.tier.translating.refusal import Untranslatable
from services.policy.tier.translating.scope import Scope


@dataclass(frozen=True, slots=True)
class _Named:
    """A table as the query names it."""

    alias: str
    table: Table
    outer: bool


def read_sources(tree: exp.Select, schema: Schema) -> tuple[Scope, list[Operation], exp.Expr | None]:
    """The scope, the operations that make it, and the conditions that they leave over. Raises Untranslatable."""
    named, conditions = _named(tree, schema)
    scope = Scope(schema)
    scope.add(named[0].alias, named[0].table)
    operations: list[Operation] = [Scan(named[0].table.name)]
    waiting = named[1:]
    while waiting:
        one, joining = _next(waiting, conditions, scope, named)
        waiting.remove(one)
        scope.add(one.alias, one.table)
        if joining is None:
            operations.append(Scan(one.table.name))
            continue
        conditions.remove(joining[0])
        operations.append(Join(joining[1], one.table.name, joining[2], one.outer))
    scope.order = [scope.names[one.alias] for one in named]
    return scope, operations, exp.and_(*conditions) if conditions else None


def _named(tree: exp.Select, schema: Schema) -> tuple[list[_Named], list[exp.Expr]]:
    begin = tree.args.get("from_") or tree.args.get("from")
    if begin is None:
        raise Untranslatable("no FROM")
    named = [_table(begin.this, schema, outer=False)]
    conditions: list[exp.Expr] = []
    for join in tree.args.get("joins") or ():
        outer = join.side == "LEFT"
        if (join.side and not outer) or join.args.get("using") or join.method:
            raise Untranslatable("another kind of join")
        named.append(_table(join.this, schema, outer))
        conditions += _conjuncts(join.args.get("on"))
    where = tree.args.get("where")
    conditions += _conjuncts(where.this if where is not None else None)
    return named, conditions


def _table(node: exp.Expr, schema: Schema, outer: bool) -> _Named:
    if isinstance(node, exp.Subquery):
        raise Untranslatable("a sub-query in FROM")
    if not isinstance(node, exp.Table):
        raise Untranslatable("another source")
    found = next((table for table in schema.tables if table.name.lower() == node.name.lower()), None)
    if found is None:
        raise Untranslatable("a table that is not there")
    return _Named(node.alias_or_name.lower(), found, outer)


def _conjuncts(node: exp.Expr | None) -> list[exp.Expr]:
    while isinstance(node, exp.Paren):
        node = node.this
    if node is None or (isinstance(node, exp.Boolean) and node.this):
        return []
    return list(node.flatten()) if isinstance(node, exp.And) else [node]


def _next(
    waiting: list[_Named], conditions: list[exp.Expr], scope: Scope, named: list[_Named]
) -> tuple[_Named, tuple[exp.Expr, Ref, str] | None]:
    """The first table that a condition ties to those that are there, else the first."""
    for one in waiting:
        for condition in conditions:
            found = _along(condition, one, scope, named)
            if found is not None:
                return one, (condition, *found)
    if waiting[0].outer:
        raise Untranslatable("an outer join along no key")
    return waiting[0], None


def _along(condition: exp.Expr, one: _Named, scope: Scope, named: list[_Named]) -> tuple[Ref, str] | None:
    """The column that is there and the column of the new table, if the condition makes them equal."""
    if not isinstance(condition, exp.EQ):
        return None
    sides = [_column(condition.this), _column(condition.expression)]
    for mine, other in (sides, sides[::-1]):
        if mine is None or other is None or _owner(other, named) is not one:
            continue
        owner = _owner(mine, named)
        column = next((c.name for c in one.table.columns if c.name.lower() == other.name.lower()), None)
        if owner is not None and owner.alias in scope.names and column is not None:
            theirs = next((c.name for c in owner.table.columns if c.name.lower() == mine.name.lower()), None)
            return (Ref(scope.names[owner.alias], theirs), column) if theirs is not None else None
    return None


def _column(node: exp.Expr) -> exp.Column | None:
    while isinstance(node, exp.Cast | exp.TryCast | exp.Paren):
        node = node.this
    return node if isinstance(node, exp.Column) else None


def _owner(column: exp.Column, named: list[_Named]) -> _Named | None:
    """The table that the column is of."""
    if column.table:
        return next((one for one in named if one.alias == column.table.lower()), None)
    name = column.name.lower()
    return next((one for one in named if any(c.name.lower() == name for c in one.table.columns)), None)
