"""Rules that turn per-row searches into joins: long CASEs, the latest row as of a time, spans over a calendar."""

from collections.abc import Callable, Iterator

from sqlglot import exp

from services.policy.rewriter.facts import EXACT, INTEGERS
from services.policy.rewriter.sites import Place, Site, column, conjuncts, joins_of, own, tables_in

_LONG = 12


def long_case(place: Place) -> Iterator[Site]:
    """A CASE of many constants of one column: a LEFT JOIN with the list of them."""
    select = place.select
    if select is None or select.args.get("from_") is None or select.args.get("laterals"):
        return
    seen: list[exp.Expr] = []
    for node in own(select, exp.Case):
        read = _constants(place, node)
        if read is not None and node not in seen:
            yield f"case{len(seen)}", _joined(place, select, node, *read)
            seen.append(node.copy())


def _constants(place: Place, node: exp.Expr) -> tuple[exp.Column, list[tuple[exp.Expr, exp.Expr]]] | None:
    """The column, and each constant with its value, the first where there are two."""
    pairs: dict[str, tuple[exp.Expr, exp.Expr]] = {}
    subject = node.this
    for branch in node.args["ifs"]:
        test, value = branch.this, branch.args["true"]
        if node.this is None:
            if not isinstance(test, exp.EQ) or (subject is not None and test.left != subject):
                return None
            subject, test = test.left, test.right
        if not isinstance(test, exp.Literal) or not isinstance(value, exp.Literal):
            return None
        pairs.setdefault(test.name, (test, value))
    kind = place.type_of(subject)
    tests, values = {t.is_string for t, _ in pairs.values()}, {v.is_string for _, v in pairs.values()}
    whole = all(t.is_string or t.is_int for pair in pairs.values() for t in pair)
    fits = (kind == "VARCHAR" and tests == {True}) or (kind in INTEGERS and tests == {False})
    default = node.args.get("default")
    same = default is None or (
        isinstance(default, exp.Literal | exp.Null) and ({default.is_string} == values or isinstance(default, exp.Null))
    )
    if len(pairs) < _LONG or len(values) != 1 or not (whole and fits and same) or not isinstance(subject, exp.Column):
        return None
    return subject, list(pairs.values())


def _joined(
    place: Place, select: exp.Select, node: exp.Expr, subject: exp.Column, pairs: list[tuple[exp.Expr, exp.Expr]]
) -> Callable[[], None]:
    def change() -> None:
        name = place.fresh("named")
        rows = [exp.Tuple(expressions=[test.copy(), value.copy()]) for test, value in pairs]
        alias = exp.TableAlias(this=exp.to_identifier(name), columns=[exp.to_identifier("k"), exp.to_identifier("v")])
        default = node.args.get("default")
        new: exp.Expr = column(name, "v")
        if default is not None and not isinstance(default, exp.Null):
            new = exp.func("coalesce", new, default.copy())
        for found in [found for found in own(select, exp.Case) if found == node]:
            found.replace(new.copy())
        on = exp.EQ(this=column(name, "k"), expression=subject.copy())
        select.append("joins", exp.Join(this=exp.Values(expressions=rows, alias=alias), side="LEFT", on=on))

    return change


def as_of(place: Place) -> Iterator[Site]:
    """A correlated search for the latest row up to a time, ORDER BY ... LIMIT 1, on a declared key: ASOF JOIN."""
    select = place.select
    if select is None or select.args.get("group") or select.args.get("laterals") or select.args.get("from_") is None:
        return
    for number, node in enumerate(found for shown in select.selects for found in shown.find_all(exp.Subquery)):
        read = _latest(place, node) if node.find_ancestor(exp.Select) is select else None
        if read is not None:
            yield f"asof{number}", _asof_join(place, select, node, read)


def _latest(place: Place, node: exp.Subquery) -> list[exp.Expr] | None:
    """The conditions of a search that finds one certain row."""
    inner = node.this
    if (
        not isinstance(inner, exp.Select)
        or len(inner.selects) != 1
        or not isinstance(inner.args["from_"].this, exp.Table)
    ):
        return None
    if any(inner.args.get(part) for part in ("group", "having", "distinct", "qualify", "joins", "laterals", "offset")):
        return None
    order, limit, alias = inner.args.get("order"), inner.args.get("limit"), inner.args["from_"].alias_or_name
    if order is None or len(order.expressions) != 1 or limit is None or limit.expression.name != "1":
        return None
    ordered = order.expressions[0]
    tests = conjuncts(inner.args.get("where"))
    table = ".".join(part.name for part in inner.args["from_"].this.parts).lower()
    equal = [key.name for test in tests if (key := _own_side(test, exp.EQ, alias)) is not None]
    times = [key for test in tests if (key := _own_side(test, exp.LTE, alias)) is not None]
    certain = len(times) == 1 and len(equal) + 1 == len(tests) and place.facts.unique(table, [*equal, times[0].name])
    late = certain and ordered.args.get("desc") and ordered.this == times[0]
    shown = inner.selects[0].unalias()
    if not late or not isinstance(shown, exp.Column) or place.facts.type_of(table, times[0].name) not in EXACT:
        return None
    return tests if isinstance(shown, exp.Column) and shown.table == alias else None


def _own_side(test: exp.Expr, kind: type[exp.Binary], alias: str) -> exp.Column | None:
    """The column of `alias` that the test compares (from below, for <=) with something of the outer query."""
    flipped = exp.GTE if kind is exp.LTE else exp.EQ
    for wanted, mine, other in ((kind, "this", "expression"), (flipped, "expression", "this")):
        if isinstance(test, wanted):
            one, two = test.args[mine], test.args[other]
            if isinstance(one, exp.Column) and one.table == alias and tables_in(two) and alias not in tables_in(two):
                return one
    return None


def _asof_join(place: Place, select: exp.Select, node: exp.Subquery, tests: list[exp.Expr]) -> Callable[[], None]:
    def change() -> None:
        inner, name = node.this, place.fresh("latest")
        alias = inner.args["from_"].alias_or_name
        source = inner.args["from_"].this.copy()
        source.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
        on = exp.and_(*(test.copy() for test in tests))
        for found in on.find_all(exp.Column):
            if found.table == alias:
                found.set("table", exp.to_identifier(name))
        node.replace(column(name, inner.selects[0].unalias().name))
        select.append("joins", exp.Join(this=source, method="ASOF", side="LEFT", on=on))

    return change


_ADDED = (exp.Count, exp.Sum)


def spans_over_calendar(place: Place) -> Iterator[Site]:
    """A key joined with all spans that hold it, then counted or added up: what has opened less what has closed."""
    select = place.select
    group = select.args.get("group") if select else None
    joins = joins_of(select) if select else []
    if select is None or group is None or len(joins) != 1 or joins[0].side or joins[0].args.get("using"):
        return
    if any(select.args.get(part) for part in ("where", "having", "qualify", "laterals", "order", "distinct")):
        return
    one, two = select.args["from_"].alias_or_name, joins[0].alias_or_name
    for calendar, spans in ((one, two), (two, one)):
        bounds = _span_bounds(place, conjuncts(joins[0].args.get("on")), calendar, spans)
        sources = {one: select.args["from_"].this, two: joins[0].this}
        if bounds and _is_day(place, group, bounds[0]) and _counted(place, select, calendar, spans):
            yield f"spans_{spans}", _opened_less_closed(place, select, sources, bounds)


_SIGNS: dict[type[exp.Expr], str] = {exp.GTE: ">=", exp.LTE: "<=", exp.LT: "<", exp.GT: ">"}
_TURNED = {">=": "<=", "<=": ">=", "<": ">", ">": "<"}


def _span_bounds(
    place: Place, tests: list[exp.Expr], calendar: str, spans: str
) -> tuple[exp.Column, exp.Column, exp.Column, bool] | None:
    """The day, the span's start and end, and whether the end is inside."""
    days: list[exp.Column] = []
    bounds: dict[str, exp.Column] = {}
    for test in _parted(tests):
        left, right, sign = test.args.get("this"), test.args.get("expression"), _SIGNS.get(type(test), "")
        if isinstance(left, exp.Column) and left.table == spans:
            left, right, sign = right, left, _TURNED.get(sign, "")
        if not isinstance(left, exp.Column) or not isinstance(right, exp.Column) or sign in bounds:
            return None
        if (left.table, right.table) != (calendar, spans):
            return None
        days.append(left)
        bounds[sign] = right
    if len(set(days)) != 1 or set(bounds) not in ({">=", "<="}, {">=", "<"}):
        return None
    start, end = bounds.pop(">="), next(iter(bounds.values()))
    kinds = {place.type_of(days[0]), place.type_of(start), place.type_of(end)}
    return (days[0], start, end, "<=" in bounds) if len(kinds) == 1 and kinds <= {"DATE", *INTEGERS} else None


def _parted(tests: list[exp.Expr]) -> list[exp.Expr]:
    """The conditions with each BETWEEN as its two."""
    found: list[exp.Expr] = []
    for test in tests:
        if isinstance(test, exp.Between):
            found.append(exp.GTE(this=test.this, expression=test.args["low"]))
            found.append(exp.LTE(this=test.this, expression=test.args["high"]))
        else:
            found.append(test)
    return found


def _is_day(place: Place, group: exp.Group, day: exp.Column) -> bool:
    base = place.base(day.table)
    special = any(group.args.get(kind) for kind in ("rollup", "cube", "grouping_sets", "all"))
    only = group.expressions == [day]
    return (
        base is not None and only and not special and place.facts.unique(base.table, [base.columns.get(day.name, "")])
    )


def _counted(place: Place, select: exp.Select, calendar: str, spans: str) -> bool:
    aggregates = list(own(select, exp.AggFunc))
    if not aggregates or list(own(select, exp.Window)) or place.base(spans) is None:
        return False
    for aggregate in aggregates:
        if not isinstance(aggregate, _ADDED) or isinstance(aggregate.parent, exp.Filter):
            return False
        star = isinstance(aggregate.this, exp.Star) and isinstance(aggregate, exp.Count)
        exact = isinstance(aggregate.this, exp.Column) and aggregate.this.table == spans
        if not star and not (exact and place.type_of(aggregate.this) in (*INTEGERS, "DECIMAL")):
            return False
    outside = [
        c for shown in select.selects for c in shown.find_all(exp.Column) if c.find_ancestor(exp.AggFunc) is None
    ]
    return all(c.table == calendar and c in select.args["group"].expressions for c in outside)


def _opened_less_closed(
    place: Place,
    select: exp.Select,
    sources: dict[str, exp.Expr],
    bounds: tuple[exp.Column, exp.Column, exp.Column, bool],
) -> Callable[[], None]:
    day, start, end, inside = bounds

    def change() -> None:
        opened, closed = place.fresh("opened"), place.fresh("closed")
        aggregates = list(own(select, exp.AggFunc))
        values = list(dict.fromkeys(a.this.name for a in aggregates if isinstance(a.this, exp.Column)))
        after = exp.GT if inside else exp.GTE
        for aggregate in aggregates:
            aggregate.replace(_less(aggregate, values, opened, closed))
        select.set("from_", exp.From(this=sources[day.table].copy()))
        open_on = exp.GTE(this=day.copy(), expression=column(opened, "moment"))
        close_on = after(this=day.copy(), expression=column(closed, "moment"))
        orderly = (
            exp.LTE(this=start.copy(), expression=end.copy())
            if inside
            else exp.LT(this=start.copy(), expression=end.copy())
        )
        select.set(
            "joins",
            [
                exp.Join(this=_totals(sources[start.table], start, values, orderly, opened), method="ASOF", on=open_on),
                exp.Join(
                    this=_totals(sources[start.table], end, values, orderly, closed),
                    method="ASOF",
                    side="LEFT",
                    on=close_on,
                ),
            ],
        )
        here = exp.GT(this=column(opened, "n"), expression=_zero(column(closed, "n")))
        select.set("where", exp.Where(this=here))
        select.set("group", None)

    return change


def _zero(node: exp.Expr) -> exp.Expr:
    return exp.func("coalesce", node, exp.Literal.number(0))


def _less(aggregate: exp.Expr, values: list[str], opened: str, closed: str) -> exp.Expr:
    def difference(name: str) -> exp.Expr:
        return exp.Sub(this=_zero(column(opened, name)), expression=_zero(column(closed, name)))

    if not isinstance(aggregate.this, exp.Column):
        return exp.cast(difference("n"), "BIGINT")
    place = values.index(aggregate.this.name)
    if isinstance(aggregate, exp.Count):
        return exp.cast(difference(f"c{place}"), "BIGINT")
    some = exp.GT(this=difference(f"c{place}"), expression=exp.Literal.number(0))
    return exp.Case(ifs=[exp.If(this=some, true=difference(f"s{place}"))])


def _totals(source: exp.Expr, at: exp.Column, values: list[str], orderly: exp.Expr, name: str) -> exp.Subquery:
    """How many spans, values and how much of each, up to each start or end."""
    inner = exp.Select(expressions=[exp.alias_(at.copy(), "moment")])
    wanted: list[tuple[exp.Expr, str]] = [(exp.Count(this=exp.Star()), "n")]
    for number, value in enumerate(values):
        wanted += [
            (exp.Count(this=column(at.table, value)), f"c{number}"),
            (exp.Sum(this=column(at.table, value)), f"s{number}"),
        ]
    for aggregate, alias in wanted:
        order = exp.Order(expressions=[exp.Ordered(this=at.copy())])
        inner.append("expressions", exp.alias_(exp.Window(this=exp.Sum(this=aggregate), order=order), alias))
    inner.set("from_", exp.From(this=source.copy()))
    inner.set("where", exp.Where(this=orderly.copy()))
    inner.set("group", exp.Group(expressions=[at.copy()]))
    return exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name)))
