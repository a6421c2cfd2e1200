"""Whether a gold query leaves its result to chance: rows that tie at a LIMIT, rows that tie in the order.

The query is run in SQLite without its LIMIT and with the keys of its ORDER BY beside the rows. A tie across the LIMIT
makes the question ambiguous; ties within the result make groups whose rows may come in any order.
"""

import sqlite3
from dataclasses import dataclass
from itertools import groupby

from sqlglot import exp

from cluster.tasksets.sqlite import run_gold
from services.contracts.statements import Cell, Rows


@dataclass(frozen=True)
class Keyed:
    """A query without LIMIT and OFFSET that also gives its sort keys. `keys` are places in a row, `width` its slice."""

    sql: str
    width: int | None
    keys: tuple[int, ...]
    limit: int | None
    offset: int


class AmbiguousError(Exception):
    """Another choice among tied rows would be as right."""


def tie_groups(connection: sqlite3.Connection, tree: exp.Expr, rows: Rows) -> tuple[int, ...]:
    """Sizes of the groups of tied rows, in order. Raises AmbiguousError for a tie across any LIMIT of the query."""
    for nested in tree.find_all(exp.Query):
        if nested is not tree and nested.args.get("limit") is not None:
            _groups(connection, nested, None)
    return _groups(connection, tree, rows)


def _groups(connection: sqlite3.Connection, tree: exp.Expr, rows: Rows | None) -> tuple[int, ...]:
    """The groups of one query, or () where they cannot be told. `rows` is its result, if known."""
    keyed = _keyed(tree)
    if keyed is None:
        return ()
    try:
        whole = run_gold(connection, keyed.sql)
    except sqlite3.Error:  # a correlated subquery, or an order that cannot be shown beside the rows
        return ()
    end = len(whole) if keyed.limit is None else min(len(whole), keyed.offset + keyed.limit)
    if rows is not None and [row[: keyed.width] for row in whole[keyed.offset : end]] != rows:
        return ()
    for border in (keyed.offset, end):
        _check_border(whole, keyed, border)
    picked = whole[keyed.offset : end]
    return tuple(len(list(group)) for _, group in groupby(picked, key=lambda row: _key(row, keyed)))


def _check_border(whole: Rows, keyed: Keyed, border: int) -> None:
    """Raise if rows on both sides of the border tie and are not all the same."""
    if not 0 < border < len(whole) or _key(whole[border - 1], keyed) != _key(whole[border], keyed):
        return
    tied = [row[: keyed.width] for row in whole if _key(row, keyed) == _key(whole[border], keyed)]
    if any(row != tied[0] for row in tied):
        raise AmbiguousError


def _key(row: list[Cell], keyed: Keyed) -> list[Cell]:
    return [row[place] for place in keyed.keys]


def _keyed(tree: exp.Expr) -> Keyed | None:
    """The query with its keys; None if it is neither ordered nor limited, or of a form that is not understood."""
    order, limit, offset = (tree.args.get(name) for name in ("order", "limit", "offset"))
    if order is None and limit is None:
        return None
    bare = tree.copy()
    for name in ("limit", "offset"):
        bare.set(name, None)
    keys = [ordered.this for ordered in (order.expressions if order is not None else [])]
    items = bare.selects if isinstance(bare, exp.Query) else []
    if any(item.is_star for item in items):
        places, width = _behind_star(bare, keys)
    else:
        places, width = [_place(key, bare, items) for key in keys], len(items)
    known = tuple(place for place in places if place is not None)
    if len(known) < len(keys):
        return None
    return Keyed(bare.sql(dialect="sqlite"), width, known, _number(limit), _number(offset) or 0)


def _behind_star(query: exp.Expr, keys: list[exp.Expr]) -> tuple[list[int | None], int | None]:
    """The keys as the last outputs, for a query whose number of outputs is not written down."""
    if not keys:
        return [], None
    if not isinstance(query, exp.Select) or query.args.get("distinct") is not None:
        return [None], None
    for key in keys:
        query.select(key.copy(), append=True, copy=False)
    return list(range(-len(keys), 0)), -len(keys)


def _place(key: exp.Expr, query: exp.Expr, items: list[exp.Expr]) -> int | None:
    """Where the key stands among the outputs; it is added to them if it can be and does not."""
    if isinstance(key, exp.Literal) and key.is_int:
        return int(key.this) - 1
    for place, item in enumerate(items):
        alias = item.alias_or_name if not isinstance(key, exp.Column) or not key.table else ""
        if item.unalias() == key or (isinstance(key, exp.Column) and alias and alias.lower() == key.name.lower()):
            return place
    if not isinstance(query, exp.Select) or query.args.get("distinct") is not None:
        return None
    query.select(key.copy(), append=True, copy=False)
    return len(query.selects) - 1


def _number(clause: exp.Expr | None) -> int | None:
    value = clause.expression if clause is not None else None
    return int(value.this) if isinstance(value, exp.Literal) and value.is_int else None
