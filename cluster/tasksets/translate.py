"""A SQLite gold query as DuckDB would have it: candidates from the least changed to the most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cluster.tasksets.semantics import Change, Columns, aggregates, comparisons, divisions, likes, orders
from services.contracts.tasks import Difficulty


@dataclass(frozen=True)
class Translation:
    """A query in DuckDB's words, and the changes that it took, by name."""

    sql: str
    changes: tuple[str, ...]


def parse(sql: str) -> exp.Expr | None:
    """The query's syntax tree in SQLite's dialect; None if it cannot be read."""
    try:
        return sqlglot.parse_one(sql, read="sqlite")
    except SqlglotError:
        return None


def candidates(sql: str, columns: Columns) -> Iterator[Translation]:
    """Translations to try in turn, from the least changed to the most."""
    yield Translation(sql, ())
    tree = parse(sql)
    if tree is None:
        return
    seen = {sql}
    for names in PIPELINES:
        translation = _translate(tree, names, columns)
        if translation.sql not in seen:
            seen.add(translation.sql)
            yield translation


def _translate(tree: exp.Expr, names: Sequence[str], columns: Columns) -> Translation:
    """The query after the named changes; those that changed nothing are not listed."""
    tree, changed = tree.copy(), ["written as DuckDB"]
    for name in names:
        before = tree.sql(dialect="duckdb")
        tree = CHANGES[name](tree, columns)
        if tree.sql(dialect="duckdb") != before:
            changed.append(name)
    return Translation(tree.sql(dialect="duckdb"), tuple(changed))


def quoted_text(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """In SQLite a double-quoted name that is no column is a text."""
    known = {name for table in columns.values() for name in table}

    def text(node: exp.Expr) -> exp.Expr:
        quoted = isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted")
        return exp.Literal.string(node.name) if quoted and node.name.lower() not in known else node

    return tree.transform(text)


def bare_columns(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """In SQLite a column that is neither grouped nor aggregated takes the value of some row: that of MIN or MAX."""
    for select in list(tree.find_all(exp.Select)):
        aggregates = [node for node in select.find_all(exp.AggFunc) if node.find_ancestor(exp.Select) is select]
        group = select.args.get("group")
        if group is None and not aggregates:
            continue
        grouped = _grouped(select, group)
        row = aggregates[0] if len(aggregates) == 1 and isinstance(aggregates[0], exp.Min | exp.Max) else None
        for clause in (*select.expressions, select.args.get("order"), select.args.get("having")):
            for column in list(clause.find_all(exp.Column)) if clause is not None else ():
                _wrap(column, select, grouped, row)
    return tree


def _grouped(select: exp.Select, group: exp.Expr | None) -> set[tuple[str, str]]:
    """(table or "", column) of what the query groups by, and the aliases of its outputs."""
    keys = list(group.expressions) if group is not None else []
    items = select.expressions
    keys = [items[int(key.this) - 1] if isinstance(key, exp.Literal) and key.is_int else key for key in keys]
    names = {(c.table.lower(), c.name.lower()) for key in keys for c in key.find_all(exp.Column)}
    return names | {("", item.alias.lower()) for item in items if isinstance(item, exp.Alias)}


def _wrap(column: exp.Column, select: exp.Select, grouped: set[tuple[str, str]], row: exp.Expr | None) -> None:
    if column.find_ancestor(exp.AggFunc, exp.Select) is not select:
        return
    table, name = column.table.lower(), column.name.lower()
    if any(name == other and (not table or not theirs or table == theirs) for theirs, other in grouped):
        return
    wrapped: exp.Expr = exp.AnyValue(this=column.copy())
    if row is not None:
        kind = exp.ArgMax if isinstance(row, exp.Max) else exp.ArgMin
        wrapped = kind(this=column.copy(), expression=row.this.copy())
    named = isinstance(column.parent, exp.Select)
    column.replace(exp.alias_(wrapped, column.name) if named else wrapped)


CHANGES: dict[str, Change] = {
    "double-quoted text": quoted_text,
    "LIKE in either case": likes,
    "whole division": divisions,
    "text against numbers": comparisons,
    "numbers from text": aggregates,
    "order of mixed values": orders,
    "value of some row": bare_columns,
}
_FIRST = ("double-quoted text",)
_COMMON = (*_FIRST, "LIKE in either case", "whole division")
_ALL = (*_COMMON, "text against numbers", "numbers from text", "order of mixed values")
_LAST = ("value of some row",)
PIPELINES: tuple[tuple[str, ...], ...] = (
    (), _FIRST, (*_FIRST, *_LAST), _COMMON, (*_COMMON, *_LAST), _ALL, (*_ALL, *_LAST),
)  # fmt: skip


def is_ordered(tree: exp.Expr) -> bool:
    """Whether the query says in which order its rows come."""
    return tree.args.get("order") is not None


def tables_of(tree: exp.Expr) -> tuple[str, ...]:
    """The tables that the query reads, in lower case; its CTEs are no tables."""
    ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    return tuple(sorted({table.name.lower() for table in tree.find_all(exp.Table)} - ctes))


def difficulty_of(tree: exp.Expr) -> Difficulty:
    """By sqlenv-v1-spec §4.1: hard is nested, HAVING or set operations; medium joins or groups; easy is the rest."""
    if tree.find(exp.SetOperation, exp.Having, exp.Subquery) or len(list(tree.find_all(exp.Select))) > 1:
        return "hard"
    return "medium" if tree.find(exp.Join, exp.Group) else "easy"
