"""Whether a gold query leaves its result to chance, found out in SQLite."""

import sqlite3

from sqlglot import exp

from cluster.tasksets.sqlite import run_gold
from services.contracts.statements import Rows
from services.grader.ties import AmbiguousError, groups_in, keyed, limited_parts

__all__ = ["AmbiguousError", "tie_groups"]


def tie_groups(connection: sqlite3.Connection, tree: exp.Expr, rows: Rows) -> tuple[int, ...]:
    """Sizes of the groups of tied rows, in order. Raises AmbiguousError for a tie across any LIMIT of the query."""
    for nested in limited_parts(tree):
        _groups(connection, nested, None)
    return _groups(connection, tree, rows)


def _groups(connection: sqlite3.Connection, tree: exp.Expr, rows: Rows | None) -> tuple[int, ...]:
    """The groups of one query, or () where they cannot be told. `rows` is its result, if known."""
    query = keyed(tree, "sqlite")
    if query is None:
        return ()
    try:
        whole = run_gold(connection, query.sql)
    except sqlite3.Error:  # a correlated subquery, or an order that cannot be shown beside the rows
        return ()
    return groups_in(whole, query, rows)
