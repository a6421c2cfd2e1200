"""Rules about windows: filters that may go below one, and joins of a table with itself that a window replaces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from services.policy.rewriter.facts import EXACT
from services.policy.rewriter.rows import matches_once
from services.policy.rewriter.sites import (
    Place,
    Site,
    column,
    conjunction,
    conjuncts,
    is_deterministic,
    joins_of,
    own,
    set_where,
    tables_in,
)  # fmt: skip

_SIGNS: dict[type[exp.Expr], str] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_RUNNING = (exp.Sum, exp.Count, exp.Min, exp.Max, exp.Avg)


def filter_below_window(place: Place) -> Iterator[Site]:
    """A filter on what is the same for a whole partition of every window below: filter before the windows."""
    select = place.select
    if select is None:
        return
    for number, test in enumerate(conjuncts(select.args.get("where"))):
        names = tables_in(test)
        source = place.scope.sources.get(next(iter(names), "")) if len(names) == 1 else None
        if isinstance(source, Scope) and isinstance(source.expression, exp.Select) and is_deterministic(test):
            inner, joins = Place(source, place.facts, place.root), {j.alias_or_name: j for j in joins_of(select)}
            nullable = any(join.side for join in joins.values())
            if not nullable and _read_once(place, source) and _same_in_partition(inner, source.expression, test):
                yield f"filter{number}", _push(select, source.expression, test)


def _read_once(place: Place, source: Scope) -> bool:
    """Whether only this select reads the rows of the source."""
    if not source.is_cte:
        return True
    cte = source.expression.parent
    name = cte.alias if cte else ""
    return sum(table.name == name for table in place.root.find_all(exp.Table)) == 1


def _same_in_partition(inner: Place, select: exp.Select, test: exp.Expr) -> bool:
    windows = list(own(select, exp.Window))
    blocked = any(select.args.get(part) for part in ("group", "limit", "offset", "windows", "laterals"))
    grouped = any(not found.find_ancestor(exp.Window) for found in own(select, exp.AggFunc))
    if blocked or grouped or not windows or list(own(select, exp.Explode, exp.Unnest)):
        return False
    if select.args.get("distinct") and select.args["distinct"].args.get("on"):
        return False
    shown = {shown.alias_or_name: shown.unalias() for shown in select.selects}
    return all(
        c.name in shown and all(_fixed(inner, shown[c.name], window) for window in windows)
        for c in test.find_all(exp.Column)
    )


def _fixed(inner: Place, value: exp.Expr, window: exp.Expr) -> bool:
    """Whether all rows of a partition have the same value: it is a key, or of the one row that a key finds."""
    keys = window.args.get("partition_by") or []
    if value in keys:
        return True
    if not isinstance(value, exp.Column) or inner.select is None:
        return False
    join = next((join for join in joins_of(inner.select) if join.alias_or_name == value.table), None)
    if join is None or not matches_once(inner, join):
        return False
    tests = conjuncts(join.args.get("on"))
    return all(isinstance(test, exp.EQ) and (test.left in keys or test.right in keys) for test in tests)


def _push(outer: exp.Select, inner: exp.Select, test: exp.Expr) -> Callable[[], None]:
    def change() -> None:
        shown = {shown.alias_or_name: shown.unalias() for shown in inner.selects}
        moved = exp.Paren(this=test.copy())
        for found in list(moved.find_all(exp.Column)):
            found.replace(shown[found.name].copy())
        kept = [part for part in conjuncts(outer.args.get("where")) if part is not test]
        set_where(outer, kept)
        set_where(inner, [*conjuncts(inner.args.get("where")), moved.this])

    return change


@dataclass(frozen=True)
class _Running:
    """What rows of the other copy of a table a row looks at: same partition, and on one side in the order."""

    partition: list[exp.Column]
    order: exp.Column
    descending: bool
    rest: list[exp.Expr]


def _running(place: Place, tests: list[exp.Expr], mine: str, other: str, strict: bool = False) -> _Running | None:
    """Read `other.k = mine.k AND other.d <= mine.d` and what else the conditions say of `other` alone."""
    partition, orders, rest = [], [], []
    for test in tests:
        pair = _pair(test, mine, other)
        if tables_in(test) == {other} and is_deterministic(test):
            rest.append(test)
        elif pair is None:
            return None
        elif isinstance(test, exp.EQ):
            partition.append(pair[0])
        else:
            orders.append((pair[0], _sign(test, pair[1])))
    wanted = ("<", ">") if strict else ("<=", ">=")
    if len(orders) != 1 or orders[0][1] not in wanted or not partition:
        return None
    if place.type_of(orders[0][0]) not in EXACT:
        return None
    return _Running(partition, orders[0][0], orders[0][1].startswith(">"), rest)


def _pair(test: exp.Expr, mine: str, other: str) -> tuple[exp.Column, bool] | None:
    """The column of `mine` where the test compares it with the same column of `other`; whether mine is on the left."""
    if not isinstance(test, exp.EQ | exp.LT | exp.LTE | exp.GT | exp.GTE):
        return None
    left, right = test.left, test.right
    if not isinstance(left, exp.Column) or not isinstance(right, exp.Column) or left.name != right.name:
        return None
    if {left.table, right.table} != {mine, other}:
        return None
    return (left, True) if left.table == mine else (right, False)


def _sign(test: exp.Expr, mine_left: bool) -> str:
    """How the other's value compares with mine."""
    sign = _SIGNS[type(test)]
    return {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[sign] if mine_left else sign


def _over(aggregate: exp.Expr, running: _Running) -> exp.Window:
    """The aggregate over the rows so far, ties included."""
    ordered = exp.Ordered(this=running.order.copy(), desc=running.descending or None)
    return exp.Window(
        this=aggregate,
        partition_by=[key.copy() for key in running.partition],
        order=exp.Order(expressions=[ordered]),
    )


def _same_table(place: Place, mine: object, other: object) -> bool:
    if not isinstance(mine, exp.Table) or not isinstance(other, exp.Table):
        return False
    return mine.parts == other.parts and not (mine.args.get("sample") or other.args.get("sample"))


def running_join(place: Place) -> Iterator[Site]:
    """A table joined with its own earlier rows, grouped back to its key, to add them up: a running window."""
    select = place.select
    group = select.args.get("group") if select else None
    joins = joins_of(select) if select else []
    if (
        select is None
        or group is None
        or len(joins) != 1
        or joins[0].side not in ("", "LEFT")
        or joins[0].args.get("using")
    ):
        return
    if any(select.args.get(part) for part in ("where", "having", "qualify", "laterals", "windows")):
        return
    mine, other = select.args["from_"].alias_or_name, joins[0].alias_or_name
    running = _running(place, conjuncts(joins[0].args.get("on")), mine, other)
    base = place.base(mine)
    if (
        running is None
        or running.rest
        or base is None
        or not _same_table(place, select.args["from_"].this, joins[0].this)
    ):
        return
    keys = [
        base.columns.get(key.name, "") for key in group.expressions if isinstance(key, exp.Column) and key.table == mine
    ]
    if len(keys) != len(group.expressions) or not place.facts.unique(base.table, keys):
        return
    compared = [*running.partition, running.order]
    aggregates = list(own(select, exp.AggFunc))
    readers = [c for c in select.find_all(exp.Column) if c.table == other and c.find_ancestor(exp.Join) is not joins[0]]
    inside = all(c.find_ancestor(exp.AggFunc) for c in readers) and not list(own(select, exp.Window))
    fit = all(isinstance(a, _RUNNING) and tables_in(a) <= {other} and _plain(a) for a in aggregates)
    if all(place.facts.not_null(base.table, c.name) for c in compared) and aggregates and inside and fit:
        yield "running", _into_running(select, running, aggregates, mine)


def _plain(aggregate: exp.Expr) -> bool:
    return not isinstance(aggregate.parent, exp.Filter) and not isinstance(aggregate.this, exp.Distinct | exp.Order)


def _into_running(select: exp.Select, running: _Running, aggregates: list[exp.Expr], mine: str) -> Callable[[], None]:
    def change() -> None:
        for aggregate in aggregates:
            window = _over(_moved(aggregate, mine), running)
            aggregate.replace(window)
        select.set("joins", None)
        select.set("group", None)

    return change


def _moved(tree: exp.Expr, alias: str) -> exp.Expr:
    """A copy whose columns are all of that source."""
    new = tree.copy()
    for found in list(new.find_all(exp.Column)):
        found.replace(column(alias, found.name))
    return column(alias, new.name) if isinstance(new, exp.Column) else new


def running_scalar(place: Place) -> Iterator[Site]:
    """A correlated aggregate over a row's own table up to that row, with all its rows there: a running window."""
    select = place.select
    if (
        select is None
        or joins_of(select)
        or any(select.args.get(part) for part in ("where", "group", "laterals", "qualify", "windows", "distinct"))
    ):
        return
    mine = select.args["from_"].alias_or_name if select.args.get("from_") else ""
    base = place.base(mine)
    for number, found in enumerate(select.find_all(exp.Subquery)):
        inner = found.this
        if (
            base is None
            or found.find_ancestor(exp.Select) is not select
            or isinstance(found.parent, exp.From | exp.Join)
        ):
            continue
        read = _correlated(place, inner, mine, select)
        if read is not None and all(place.facts.not_null(base.table, c.name) for c in (*read.partition, read.order)):
            yield f"scalar{number}", _scalar_over(found, inner, read, mine)


def _correlated(place: Place, inner: exp.Expr, mine: str, outer: exp.Select) -> _Running | None:
    if not isinstance(inner, exp.Select) or inner.args.get("from_") is None or joins_of(inner):
        return None
    if any(inner.args.get(part) for part in ("group", "having", "limit", "order", "distinct", "qualify", "laterals")):
        return None
    aggregate = inner.selects[0].unalias() if len(inner.selects) == 1 else None
    other = inner.args["from_"].alias_or_name
    if not isinstance(aggregate, _RUNNING) or not _plain(aggregate) or not tables_in(aggregate) <= {other}:
        return None
    if not _same_table(place, outer.args["from_"].this, inner.args["from_"].this):
        return None
    return _running(place, conjuncts(inner.args.get("where")), mine, other)


def _scalar_over(found: exp.Expr, inner: exp.Select, running: _Running, mine: str) -> Callable[[], None]:
    def change() -> None:
        aggregate = inner.selects[0].unalias().copy()
        if running.rest:
            counted = exp.Literal.number(1) if isinstance(aggregate.this, exp.Star) else aggregate.this
            case = exp.Case(ifs=[exp.If(this=conjunction(running.rest), true=counted)])
            aggregate.set("this", case)
        found.replace(_over(_moved(aggregate, mine), running))

    return change


def exists_beyond(place: Place) -> Iterator[Site]:
    """EXISTS a later (or earlier) row of the same table and partition: compare with the partition's last one."""
    select = place.select
    if select is None:
        return
    for number, found in enumerate(own(select, exp.Exists)):
        inner = found.this
        if not isinstance(inner, exp.Select) or inner.args.get("from_") is None or joins_of(inner):
            continue
        if any(inner.args.get(part) for part in ("group", "having", "limit", "qualify", "laterals", "offset")):
            continue
        other = inner.args["from_"].alias_or_name
        if list(own(inner, exp.AggFunc, exp.Window)) or not isinstance(inner.args["from_"].this, exp.Table):
            continue
        for node in [select.args.get("from_"), *joins_of(select)]:
            mine = node.alias_or_name if node is not None else ""
            if node is None or other == mine or not _same_table(place, node.this, inner.args["from_"].this):
                continue
            running = _running(place, conjuncts(inner.args.get("where")), mine, other, strict=True)
            read = {c.name for c in select.find_all(exp.Column) if c.table == mine}
            base = place.base(mine)
            if running is not None and base is not None and read <= set(base.columns):
                yield f"exists{number}", _beyond(place, node, found, running, mine)


def _beyond(place: Place, node: exp.Expr, found: exp.Expr, running: _Running, mine: str) -> Callable[[], None]:
    def change() -> None:
        edge = place.fresh("edge")
        value: exp.Expr = running.order.copy()
        if running.rest:
            value = exp.Case(ifs=[exp.If(this=_moved(conjunction(running.rest), mine), true=value)])  # type: ignore[arg-type]
        extreme = exp.Max(this=value) if running.descending else exp.Min(this=value)
        window = exp.Window(this=extreme, partition_by=[key.copy() for key in running.partition])
        inner = exp.Select(
            expressions=[exp.Column(this=exp.Star(), table=exp.to_identifier(mine)), exp.alias_(window, edge)]
        )
        inner.set("from_", exp.From(this=node.this.copy()))
        sign = exp.GT if running.descending else exp.LT
        keyed = [exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null())) for key in running.partition]
        test = conjunction([sign(this=column(mine, edge), expression=running.order.copy()), *keyed])
        found.replace(exp.func("coalesce", test, exp.false()))
        node.set("this", exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(mine))))

    return change
