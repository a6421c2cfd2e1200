"""Rows that tie in the order of a query, or at its LIMIT: where its result is left to chance.

A query is run without its LIMIT and with the keys of its ORDER BY beside the rows. A tie across the LIMIT makes the
question ambiguous; ties within the result make groups whose rows may come in any order.
"""

from dataclasses import dataclass
from itertools import groupby

from sqlglot import exp

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


def limited_parts(tree: exp.Expr) -> list[exp.Expr]:
    """The queries inside a query that a LIMIT cuts."""
    return [node for node in tree.find_all(exp.Query) if node is not tree and node.args.get("limit") is not None]


def groups_in(whole: Rows, query: Keyed, rows: Rows | None, strict: bool = False) -> tuple[int, ...]:
    """Sizes of the runs of tied rows, or () where `rows`, the result, is not a slice of the whole.

    Raises AmbiguousError for a tie across a border of the slice; if not strict, rows that are all the same do not tie.
    """
    end = len(whole) if query.limit is None else min(len(whole), query.offset + query.limit)
    if rows is not None and [row[: query.width] for row in whole[query.offset : end]] != rows:
        return ()
    for border in (query.offset, end):
        _check_border(whole, query, border, strict)
    picked = whole[query.offset : end]
    return tuple(len(list(group)) for _, group in groupby(picked, key=lambda row: _key(row, query)))


def _check_border(whole: Rows, query: Keyed, border: int, strict: bool) -> None:
    """Raise if rows on both sides of the border tie and, unless strict, are not all the same."""
    if not 0 < border < len(whole) or _key(whole[border - 1], query) != _key(whole[border], query):
        return
    tied = [row[: query.width] for row in whole if _key(row, query) == _key(whole[border], query)]
    if strict or any(row != tied[0] for row in tied):
        raise AmbiguousError


def _key(row: list[Cell], query: Keyed) -> list[Cell]:
    return [row[place] for place in query.keys]


def keyed(tree: exp.Expr, dialect: str) -> Keyed | None:
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
    return Keyed(bare.sql(dialect=dialect), width, known, _number(limit), _number(offset) or 0)


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
