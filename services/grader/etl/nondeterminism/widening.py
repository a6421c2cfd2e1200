"""The tied rows of a job: its own statements, with every untied pick of one row widened to all rows that tie for it.

ROW_NUMBER() = 1 becomes RANK() = 1, DISTINCT ON a RANK() = 1 over its expressions, and a GROUP BY with arg_max, first
and the like keeps every row at the extreme. What each pick may give is then a row of the output, columns together.
Aggregates beside such a pick do not count the rows that the pick skips, so only keys and carried columns are of use.

Invariant: a job whose picks cannot all be widened so is refused; then nothing corroborates its ties.
"""

from collections.abc import Iterator

from sqlglot import exp

from services.contracts.errors import BadInput
from services.grader.etl.nondeterminism.aggregates import call_of
from services.grader.etl.nondeterminism.frames import NotUnderstood, has_aggregate
from services.grader.etl.nondeterminism.functions import EXTREME, PICK, name_of, nature_of
from services.grader.etl.nondeterminism.narrowing import first_only
from services.grader.etl.nondeterminism.statements import parsed

WRAPPERS = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)
NULL_SKIPPING = frozenset(("any_value", "arbitrary"))
Picks = list[exp.Expr]


def widened(statements: tuple[str, ...]) -> tuple[str, ...]:
    """The statements that give all tied rows. Raises BadInput that says which pick cannot be widened."""
    try:
        trees = parsed(statements)
    except NotUnderstood as error:
        raise BadInput(f"the ties of the job cannot be found: {error}") from error
    for tree in trees:
        for select in list(tree.find_all(exp.Select)):
            _widen(select)
        for window in tree.find_all(exp.Window):
            if isinstance(window.this, exp.RowNumber):
                window.set("this", _rank(window, tree))
    return tuple(tree.sql("duckdb") for tree in trees)


def _rank(window: exp.Window, tree: exp.Expr) -> exp.Expr:
    """RANK for a ROW_NUMBER of which only the first is ever taken. Raises BadInput for any other."""
    parent = window.parent
    name = parent.alias.lower() if isinstance(parent, exp.Alias) else ""
    uses = [column.parent for column in tree.find_all(exp.Column) if name and column.name.lower() == name]
    compared = [parent] if isinstance(parent, exp.Binary) else uses
    others = [part for part in compared if not isinstance(part, exp.Alias | exp.Select | exp.Tuple | exp.Star)]
    if not others or not all(part is not None and first_only(part) for part in others):
        raise BadInput(f"ties cannot be checked: not only the first of {window.sql('duckdb')} is taken")
    return exp.Rank()


def _widen(select: exp.Select) -> None:
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        _widen_distinct(select, distinct.args["on"].expressions)
    elif any(_picks(part) for part in select.selects):
        _widen_groups(select)


def _widen_distinct(select: exp.Select, parts: list[exp.Expr]) -> None:
    order = select.args.get("order")
    if select.args.get("qualify") or select.args.get("group") or select.args.get("limit"):
        raise BadInput("ties cannot be checked: DISTINCT ON with QUALIFY, GROUP BY or LIMIT")
    named = {part.alias.lower(): part.unalias() for part in select.selects if part.alias}
    keys = [_meant(part, named) for part in parts]
    ordered = [_reordered(part, named) for part in order.expressions] if order is not None else []
    select.set("distinct", None)
    select.set("order", None)
    _qualify(select, keys, ordered)


def _meant(part: exp.Expr, named: dict[str, exp.Expr]) -> exp.Expr:
    plain = isinstance(part, exp.Column) and not part.table
    return (named.get(part.name.lower(), part) if plain else part).copy()


def _reordered(part: exp.Expr, named: dict[str, exp.Expr]) -> exp.Expr:
    again = part.copy()
    again.set("this", _meant(part.this, named))
    return again


def _qualify(select: exp.Select, keys: list[exp.Expr], ordered: list[exp.Expr]) -> None:
    order = exp.Order(expressions=ordered) if ordered else None
    window = exp.Window(this=exp.Rank(), partition_by=keys, order=order)
    select.set("qualify", exp.Qualify(this=exp.EQ(this=window, expression=exp.Literal.number(1))))


def _picks(node: exp.Expr) -> Picks:
    """The picking aggregates of an expression, outside windows and subqueries."""
    if isinstance(node, exp.Query | exp.Window):
        return []
    inner = node
    while isinstance(inner, WRAPPERS):
        inner = inner.this
    if isinstance(inner, exp.Func) and name_of(inner) in PICK | EXTREME:
        return [node]
    return [pick for part in node.iter_expressions() for pick in _picks(part)]


def _widen_groups(select: exp.Select) -> None:
    """Every row at the extreme of its group instead of one; the other aggregates go over a window of the group."""
    group = select.args.get("group")
    if any(select.args.get(part) for part in ("having", "qualify", "distinct", "limit", "windows")):
        raise BadInput("ties cannot be checked: picks in a SELECT with HAVING, QUALIFY, DISTINCT or LIMIT")
    keys = list(_keys(select, group))
    picks = [pick for part in select.selects for pick in _picks(part)]
    orders = {_order_text(pick) for pick in picks}
    if len(orders) != 1:
        raise BadInput("ties cannot be checked: the picks of one GROUP BY go by several orders")
    ordered, present = _order(picks[0]), [part for pick in picks for part in _present(pick)]
    select.set("expressions", _ungroup(exp.Tuple(expressions=select.selects), keys).expressions)
    select.set("group", None)
    for condition in {part.sql("duckdb"): part for part in present}.values():
        select.where(exp.Not(this=exp.Is(this=condition.copy(), expression=exp.Null())), copy=False)
    _qualify(select, [key.copy() for key in keys], ordered)


def _keys(select: exp.Select, group: exp.Group | None) -> Iterator[exp.Expr]:
    if group is None:
        return
    if any(group.args.get(part) for part in ("grouping_sets", "cube", "rollup")):
        raise BadInput("ties cannot be checked: picks in a SELECT with grouping sets")
    named = {part.alias.lower(): part.unalias() for part in select.selects if part.alias}
    if group.args.get("all"):
        yield from (part.unalias().copy() for part in select.selects if not has_aggregate(part))
    for part in group.expressions:
        number = isinstance(part, exp.Literal) and part.is_int
        yield select.selects[int(part.name) - 1].unalias().copy() if number else _meant(part, named)


def _order(pick: exp.Expr) -> list[exp.Expr]:
    """The order by which a pick takes the first row, as that of a window."""
    call = call_of(pick)
    if call.filters or call.distinct or call.name in ("mode", "nth_value") or len(call.values) > 2:
        raise BadInput(f"ties cannot be checked: {pick.sql('duckdb')}")
    if call.name in EXTREME:
        largest = "max" in call.name
        return [exp.Ordered(this=call.values[1].copy(), desc=largest, nulls_first=False)]
    inner = pick
    while isinstance(inner, WRAPPERS):
        inner = inner.this
    orders = list(inner.find_all(exp.Order))
    if call.name in ("last", "last_value") and orders:
        raise BadInput(f"ties cannot be checked: {pick.sql('duckdb')}")
    return [part.copy() for order in orders for part in order.expressions]


def _order_text(pick: exp.Expr) -> str:
    return ", ".join(part.sql("duckdb") for part in _order(pick))


def _present(pick: exp.Expr) -> list[exp.Expr]:
    """What must not be NULL in a row that a pick takes."""
    call = call_of(pick)
    if call.name in EXTREME:
        return list(call.values)
    return list(call.values) if call.name in NULL_SKIPPING else []


def _ungroup(node: exp.Expr, keys: list[exp.Expr]) -> exp.Expr:
    """Turn the aggregates of an expression: a pick to its row's value, any other to a window over the group."""
    for part in list(node.iter_expressions()):
        inner = part
        while isinstance(inner, WRAPPERS):
            inner = inner.this
        if isinstance(part, exp.Query | exp.Window):
            continue
        if isinstance(inner, exp.Func) and nature_of(inner) == "aggregate":
            if name_of(inner) in PICK | EXTREME:
                part.replace(exp.paren(call_of(part).values[0].copy()))
            else:
                window = exp.Window(this=part.copy(), partition_by=[key.copy() for key in keys])
                part.replace(window)
        else:
            _ungroup(part, keys)
    return node
