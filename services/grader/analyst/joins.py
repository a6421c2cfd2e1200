"""Whether a statement joins two tables on their keys, by its syntax tree, and the statement with that join cut.

Invariant: a join counts only where the output comes from: one in an unused CTE, under an OR, or of a column with itself
is none, and neither is one beside a table that nothing ties to the others. A text that could keep its reader busy is
not read: each star and join may double the columns there are, and parentheses cost stack.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from services.grader.analyst.gold import KeyColumn

MAX_CHARACTERS, MAX_STARS, MAX_JOINS, MAX_NESTING = 5_000, 10, 20, 60
_MAX_DEPTH = 20
_SAME_VALUE = (exp.Paren, exp.Cast, exp.TryCast, exp.Lower, exp.Upper, exp.Trim)
_NO_JOIN = ("ANTI",)


def severed(sql: str, tables: Mapping[str, Sequence[str]], keys: tuple[KeyColumn, KeyColumn]) -> str | None:
    """The statement with the join of the two keys never true; None if it has no such join, or cannot be read."""
    if len(sql) > MAX_CHARACTERS or sql.count("*") > MAX_STARS or _nesting(sql) > MAX_NESTING:
        return None
    schema: dict[str, object] = {table: dict.fromkeys(columns, "VARCHAR") for table, columns in tables.items()}
    try:
        parsed = sqlglot.parse_one(sql, read="duckdb")
        if sum(1 for _ in parsed.find_all(exp.Join)) > MAX_JOINS:
            return None
        tree = qualify(
            parsed,
            schema=schema,
            dialect="duckdb",
            expand_alias_refs=False,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        scope = build_scope(tree)
        joins = [found for part in _used(scope) for found in _key_joins(part, keys)] if scope is not None else []
        for join in joins:
            join.replace(exp.false())
        return tree.sql(dialect="duckdb") if joins else None
    except (SqlglotError, RecursionError):
        return None


def _used(root: Scope) -> Iterator[Scope]:
    """The scope and those that its rows come from, each once; an unused CTE is none of them."""
    waiting, seen = [root], {id(root)}
    while waiting:
        scope = waiting.pop()
        yield scope
        sources = [source for _, source in scope.selected_sources.values()] if _is_select(scope) else []
        for source in (*scope.set_operation_scopes, *sources):
            if isinstance(source, Scope) and id(source) not in seen:
                seen.add(id(source))
                waiting.append(source)


def _is_select(scope: Scope) -> bool:
    return isinstance(scope.expression, exp.Select)


def _nesting(sql: str) -> int:
    """How deep parentheses and brackets stand in each other, at most; those in strings count too."""
    steps = {"(": 1, "[": 1, ")": -1, "]": -1}
    return max(accumulate((steps.get(letter, 0) for letter in sql), initial=0))


def _key_joins(scope: Scope, keys: tuple[KeyColumn, KeyColumn]) -> list[exp.EQ]:
    """The equalities of the two keys that every row of the scope has to meet; none if a source is tied to nothing."""
    if not isinstance(scope.expression, exp.Select):
        return []
    equalities = [term for term in _terms(scope.expression) if isinstance(term, exp.EQ)]
    wanted = {(key.table, key.column) for key in keys}
    found = [term for term in equalities if {_base(side, scope, 0) for side in (term.left, term.right)} == wanted]
    return found if found and _all_tied(scope, equalities) else []


def _terms(select: exp.Select) -> Iterator[exp.Expr]:
    """What is true of every row: the operands of AND in WHERE and in each ON."""
    conditions = [join.args["on"] for join in select.args.get("joins") or () if _joins(join) and join.args.get("on")]
    if select.args.get("where"):
        conditions.append(select.args["where"].this)
    for condition in conditions:
        yield from _operands(condition)


def _operands(condition: exp.Expr) -> Iterator[exp.Expr]:
    inner = condition.unnest()
    if isinstance(inner, exp.And):
        yield from _operands(inner.left)
        yield from _operands(inner.right)
    else:
        yield inner


def _joins(join: exp.Join) -> bool:
    return str(join.args.get("kind") or "").upper() not in _NO_JOIN


def _base(side: exp.Expr, scope: Scope, depth: int) -> tuple[str, str] | None:
    """The table and column that a side of an equality is the value of, but for case, spaces and type."""
    while isinstance(side, _SAME_VALUE):
        side = side.this
    if not isinstance(side, exp.Column) or depth > _MAX_DEPTH:
        return None
    source = scope.sources.get(side.table)
    if isinstance(source, exp.Table):
        return source.name.lower(), side.name.lower()
    if not isinstance(source, Scope) or not isinstance(source.expression, exp.Select):
        return None
    picked = next((item for item in source.expression.selects if item.alias_or_name == side.name), None)
    return _base(picked.unalias(), source, depth + 1) if picked is not None else None


def _all_tied(scope: Scope, equalities: Sequence[exp.EQ]) -> bool:
    """Whether equalities tie all sources of the scope together, so that none is crossed with the rest."""
    tied = {name: {name} for name in scope.selected_sources}
    for equality in equalities:
        names = {column.table for column in equality.find_all(exp.Column)} & tied.keys()
        group = set().union(*(tied[name] for name in names)) if names else set()
        for name in group:
            tied[name] = group
    return all(len(group) == len(tied) for group in tied.values())
