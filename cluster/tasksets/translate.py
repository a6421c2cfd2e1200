"""A SQLite gold query as DuckDB would have it: candidates from the least changed to the most."""

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from services.contracts.tasks import Difficulty


def parse(sql: str) -> exp.Expr | None:
    """The query's syntax tree in SQLite's dialect; None if it cannot be read."""
    try:
        return sqlglot.parse_one(sql, read="sqlite")
    except SqlglotError:
        return None


def candidates(sql: str, columns: frozenset[str]) -> Iterator[str]:
    """Translations to try in turn. `columns` are the database's column names in lower case."""
    yield sql
    tree = parse(sql)
    if tree is None:
        return
    for change in (_plain, _quoted_text, _bare_columns):
        tree = change(tree, columns)
        yield tree.sql(dialect="duckdb")


def _plain(tree: exp.Expr, columns: frozenset[str]) -> exp.Expr:
    return tree


def _quoted_text(tree: exp.Expr, columns: frozenset[str]) -> exp.Expr:
    """In SQLite a double-quoted name that is no column is a text."""

    def text(node: exp.Expr) -> exp.Expr:
        quoted = isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted")
        return exp.Literal.string(node.name) if quoted and node.name.lower() not in columns else node

    return tree.transform(text)


def _bare_columns(tree: exp.Expr, columns: frozenset[str]) -> exp.Expr:
    """In SQLite a column that is neither grouped nor aggregated takes the value of some row."""
    tree = tree.copy()
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        grouped = {column.name.lower() for column in group.find_all(exp.Column)} if group else set()
        if group is None and not any(item.find(exp.AggFunc) for item in select.expressions):
            continue
        for clause in (*select.expressions, select.args.get("order"), select.args.get("having")):
            if clause is not None:
                _wrap(clause, grouped)
    return tree


def _wrap(clause: exp.Expr, grouped: set[str]) -> None:
    for column in list(clause.find_all(exp.Column)):
        inside = column.find_ancestor(exp.AggFunc, exp.Subquery, exp.Select)
        if column.name.lower() not in grouped and (inside is None or isinstance(inside, exp.Select)):
            wrapped = exp.AnyValue(this=column.copy())
            named = isinstance(column.parent, exp.Select)
            column.replace(exp.alias_(wrapped, column.name) if named else wrapped)


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
