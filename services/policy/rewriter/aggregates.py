"""Rules about aggregates: scalars in one join, sums of cases in two stages, facts added up before a join."""

from collections.abc import Callable, Iterator

from sqlglot import exp

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

_ADDED = (exp.Sum, exp.Count, exp.Min, exp.Max)
_SCALARS = (*_ADDED, exp.Avg)
_FEW_CASES = 4


def scalars_in_one_join(place: Place) -> Iterator[Site]:
    """Several correlated aggregates over one table by the same key: one LEFT JOIN of that table grouped by it."""
    select = place.select
    if select is None or select.args.get("from_") is None or select.args.get("group") or select.args.get("laterals"):
        return
    found: dict[tuple[str, ...], list[exp.Subquery]] = {}
    for node in own_subqueries(select):
        signature = _signature(place, node)
        if signature is not None:
            found.setdefault(signature, []).append(node)
    for number, nodes in enumerate(found.values()):
        if len(nodes) > 1:
            yield f"scalars{number}", _one_join(place, select, nodes)


def own_subqueries(select: exp.Select) -> list[exp.Subquery]:
    """The scalar subqueries of the select itself, in its columns or WHERE."""
    parts = [*select.selects, *([select.args["where"]] if select.args.get("where") else [])]
    nodes = [node for part in parts for node in part.find_all(exp.Subquery)]
    return [node for node in nodes if node.find_ancestor(exp.Select) is select and not isinstance(node.parent, exp.In)]


def _signature(place: Place, node: exp.Subquery) -> tuple[str, ...] | None:
    """The table and the pairs of key and outer expression of a scalar that can be joined; None if it cannot."""
    inner = node.this
    if (
        not isinstance(inner, exp.Select)
        or len(inner.selects) != 1
        or not isinstance(inner.args["from_"].this, exp.Table)
    ):
        return None
    unfit = ("group", "having", "limit", "order", "distinct", "qualify", "laterals", "joins", "offset", "with_")
    aggregate = inner.selects[0].unalias()
    alias = inner.args["from_"].alias_or_name
    if any(inner.args.get(part) for part in unfit) or not _plain(aggregate, _SCALARS) or tables_in(aggregate) - {alias}:
        return None
    keys, rest = _split(inner)
    outside = [table for _, other in keys for table in tables_in(other)]
    if not keys or any(tables_in(test) - {alias} or not is_deterministic(test) for test in rest):
        return None
    if any(table not in place.scope.sources for table in outside):
        return None
    table = inner.args["from_"].this
    return ".".join(part.name for part in table.parts), *sorted(f"{key.name}={other.sql()}" for key, other in keys)


def _split(inner: exp.Select) -> tuple[list[tuple[exp.Column, exp.Expr]], list[exp.Expr]]:
    """The correlated equalities as (its column, outer expression), and the other conditions."""
    alias, keys, rest = inner.args["from_"].alias_or_name, [], []
    for test in conjuncts(inner.args.get("where")):
        sides = [(test.left, test.right), (test.right, test.left)] if isinstance(test, exp.EQ) else []
        pairs = [
            (a, b)
            for a, b in sides
            if isinstance(a, exp.Column) and a.table == alias and tables_in(b) and alias not in tables_in(b)
        ]
        if pairs:
            keys.append(pairs[0])
        else:
            rest.append(test)
    return keys, rest


def _plain(aggregate: exp.Expr, kinds: tuple[type[exp.Expr], ...]) -> bool:
    distinct = isinstance(aggregate.this, exp.Distinct) and len(aggregate.this.expressions) != 1
    return isinstance(aggregate, kinds) and not distinct and not isinstance(aggregate.this, exp.Order)


def _one_join(place: Place, select: exp.Select, nodes: list[exp.Subquery]) -> Callable[[], None]:
    def change() -> None:
        alias = place.fresh("sums")
        first = nodes[0].this
        keys = sorted(_split(first)[0], key=lambda pair: f"{pair[0].name}={pair[1].sql()}")
        name = first.args["from_"].alias_or_name
        inner = exp.Select(expressions=[exp.alias_(key.copy(), f"k{n}") for n, (key, _) in enumerate(keys)])
        inner.set("from_", first.args["from_"].copy())
        inner.set("group", exp.Group(expressions=[key.copy() for key, _ in keys]))
        for number, node in enumerate(nodes):
            aggregate = node.this.selects[0].unalias().copy()
            counts = isinstance(aggregate, exp.Count)
            tests = conjunction(_split(node.this)[1])
            if tests is not None:
                aggregate = exp.Filter(this=aggregate, expression=exp.Where(this=tests))
            inner.append("expressions", exp.alias_(_of_alias(aggregate, name), f"a{number}"))
            new: exp.Expr = column(alias, f"a{number}")
            node.replace(exp.func("coalesce", new, exp.Literal.number(0)) if counts else new)
        on = conjunction(
            [exp.EQ(this=column(alias, f"k{n}"), expression=other.copy()) for n, (_, other) in enumerate(keys)]
        )
        source = exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias)))
        select.append("joins", exp.Join(this=source, side="LEFT", on=on))

    return change


def _of_alias(tree: exp.Expr, alias: str) -> exp.Expr:
    for found in list(tree.find_all(exp.Column)):
        found.set("table", exp.to_identifier(alias))
    return tree


def cases_in_two_stages(place: Place) -> Iterator[Site]:
    """Many aggregates of one CASE or FILTER each: add up by the columns that the conditions read, then pick."""
    select = place.select
    group = select.args.get("group") if select else None
    if select is None or group is None or not group.expressions or _unfit_to_stage(select, group):
        return
    aggregates = list(own(select, exp.AggFunc))
    tests = [_test_of(found) for found in aggregates]
    if sum(test is not None for test in tests) < _FEW_CASES or not all(map(_stageable, aggregates)):
        return
    marks = sorted({(c.table, c.name) for test in tests if test is not None for c in test.find_all(exp.Column)})
    if len(marks) <= 2 and all(_outside(select, aggregates)):
        yield "stages", _in_stages(place, select, aggregates, marks)


def _unfit_to_stage(select: exp.Select, group: exp.Group) -> bool:
    special = any(group.args.get(kind) for kind in ("rollup", "cube", "grouping_sets", "all", "totals"))
    inner = select.args.get("from_")
    staged = isinstance(inner.this, exp.Subquery) and inner.alias_or_name.startswith("staged") if inner else True
    return special or staged or bool(list(own(select, exp.Window, exp.Star)) and _starred(select))


def _starred(select: exp.Select) -> bool:
    return any(not isinstance(node.parent, exp.Count) for node in own(select, exp.Star, exp.Window))


def _test_of(aggregate: exp.Expr) -> exp.Expr | None:
    """The condition of SUM(CASE WHEN condition THEN value [ELSE 0] END) or of a FILTER."""
    if isinstance(aggregate.parent, exp.Filter):
        where: exp.Expr = aggregate.parent.expression.this
        return where
    case = aggregate.this
    if (
        isinstance(case, exp.Case)
        and len(case.args["ifs"]) == 1
        and case.this is None
        and isinstance(aggregate, _ADDED)
    ):
        test: exp.Expr = case.args["ifs"][0].this
        return test
    return None


def _stageable(aggregate: exp.Expr) -> bool:
    """Whether it can be added up from parts."""
    if not isinstance(aggregate, _ADDED) or isinstance(aggregate.this, exp.Distinct | exp.Order):
        return False
    test = _test_of(aggregate)
    if test is None:
        return is_deterministic(aggregate)
    if not is_deterministic(test) or not is_deterministic(aggregate):
        return False
    otherwise = aggregate.this.args.get("default") if isinstance(aggregate.this, exp.Case) else None
    if otherwise is None or isinstance(otherwise, exp.Null):
        return True
    return isinstance(aggregate, exp.Sum) and isinstance(otherwise, exp.Literal) and otherwise.name == "0"


def _outside(select: exp.Select, aggregates: list[exp.Expr]) -> Iterator[bool]:
    """Whether what the aggregates leave over is made of the group's own expressions."""
    grouped = set(select.args["group"].expressions)

    def fits(node: exp.Expr) -> bool:
        if node in grouped or any(
            node is found or (node is found.parent and isinstance(node, exp.Filter)) for found in aggregates
        ):
            return True
        return not isinstance(node, exp.Column | exp.Query) and all(map(fits, node.iter_expressions()))

    for part in _result_parts(select):
        yield fits(part)


def _result_parts(select: exp.Select) -> list[exp.Expr]:
    shown = [shown.this if isinstance(shown, exp.Alias) else shown for shown in select.selects]
    having = select.args.get("having")
    return [*shown, *([having.this] if having else [])]


def _in_stages(
    place: Place, select: exp.Select, aggregates: list[exp.Expr], marks: list[tuple[str, str]]
) -> Callable[[], None]:
    def change() -> None:
        name = place.fresh("staged")
        grouped = list(select.args["group"].expressions)
        inner = exp.Select(expressions=[exp.alias_(key.copy(), f"g{n}") for n, key in enumerate(grouped)])
        for number, mark in enumerate(marks):
            inner.append("expressions", exp.alias_(column(*mark), f"m{number}"))
        for part in ("from_", "joins", "where", "laterals"):
            inner.set(part, select.args.get(part))
            select.set(part, None)
        inner.set(
            "group", exp.Group(expressions=[*(key.copy() for key in grouped), *(column(*mark) for mark in marks)])
        )
        partial: dict[exp.Expr, str] = {}
        for aggregate in aggregates:
            test, whole = _partial(aggregate)
            part_name = partial.setdefault(whole, f"p{len(partial)}")
            new = _added(aggregate, test and _renamed(test, marks, name), column(name, part_name))
            (aggregate.parent if isinstance(aggregate.parent, exp.Filter) else aggregate).replace(new)
        for whole, part_name in partial.items():
            inner.append("expressions", exp.alias_(whole, part_name))
        for number, key in enumerate(grouped):
            for node in [n for part in _holders(select) for n in part.walk() if n == key]:
                node.replace(column(name, f"g{number}"))
        select.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name)))))

    return change


def _holders(select: exp.Select) -> list[exp.Expr]:
    return [*select.selects, *(select.args[part] for part in ("group", "having", "order") if select.args.get(part))]


def _partial(aggregate: exp.Expr) -> tuple[exp.Expr | None, exp.Expr]:
    """The condition, and the aggregate without it."""
    test, part = _test_of(aggregate), aggregate.copy()
    if isinstance(part.this, exp.Case) and test is not None and not isinstance(aggregate.parent, exp.Filter):
        part.set("this", part.this.args["ifs"][0].args["true"])
    return (test.copy() if test is not None else None), part


def _renamed(test: exp.Expr, marks: list[tuple[str, str]], name: str) -> exp.Expr:
    holder = exp.Paren(this=test)
    for found in list(holder.find_all(exp.Column)):
        found.replace(column(name, f"m{marks.index((found.table, found.name))}"))
    renamed: exp.Expr = holder.this
    return renamed


def _added(aggregate: exp.Expr, test: exp.Expr | None, part: exp.Expr) -> exp.Expr:
    """The aggregate of the parts for which the condition holds, of the same type."""
    value: exp.Expr = part
    if test is not None:
        case = exp.Case(ifs=[exp.If(this=test, true=part)])
        default = aggregate.this.args.get("default") if isinstance(aggregate.this, exp.Case) else None
        if default is not None and not isinstance(aggregate.parent, exp.Filter):
            case.set("default", default.copy())
        value = case
    if isinstance(aggregate, exp.Count):
        return exp.cast(exp.func("coalesce", exp.Sum(this=value), exp.Literal.number(0)), "BIGINT")
    return type(aggregate)(this=value)


def add_up_before_join(place: Place) -> Iterator[Site]:
    """A fact table joined only to be grouped by the other sides: add it up by its join keys first."""
    select = place.select
    group = select.args.get("group") if select else None
    joins = joins_of(select) if select else []
    if select is None or group is None or not joins or _unfit_to_stage(select, group) or select.args.get("laterals"):
        return
    fact = select.args["from_"].alias_or_name
    if any(
        j.side not in ("", "LEFT")
        or j.kind not in ("", "INNER", "OUTER")
        or j.args.get("using")
        or j.args.get("method")
        for j in joins
    ):
        return
    if (
        not isinstance(select.args["from_"].this, exp.Table)
        or place.base(fact) is None
        or list(select.find_all(exp.Query))[1:]
    ):
        return
    aggregates = list(own(select, exp.AggFunc))
    fit = all(
        _plain(a, _ADDED) and not isinstance(a.this, exp.Distinct) and not isinstance(a.parent, exp.Filter)
        for a in aggregates
    )
    if aggregates and fit and all(tables_in(a) <= {fact} and is_deterministic(a) for a in aggregates):
        mine = [
            test for test in conjuncts(select.args.get("where")) if tables_in(test) == {fact} and is_deterministic(test)
        ]
        yield "early", _early(place, select, aggregates, mine)


def _early(place: Place, select: exp.Select, aggregates: list[exp.Expr], mine: list[exp.Expr]) -> Callable[[], None]:
    def change() -> None:
        fact, name = select.args["from_"].alias_or_name, place.fresh("early")
        set_where(select, [test for test in conjuncts(select.args.get("where")) if not any(test is m for m in mine)])
        partial: dict[exp.Expr, str] = {}
        for aggregate in aggregates:
            part_name = partial.setdefault(aggregate.copy(), f"p{len(partial)}")
            aggregate.replace(_added(aggregate, None, column(name, part_name)))
        keys = sorted({c.name for c in select.find_all(exp.Column) if c.table == fact})
        inner = exp.Select(expressions=[exp.alias_(column(fact, key), key) for key in keys])
        inner.set("from_", select.args["from_"].copy())
        set_where(inner, [test.copy() for test in mine])
        if keys:
            inner.set("group", exp.Group(expressions=[column(fact, key) for key in keys]))
        for whole, part_name in partial.items():
            inner.append("expressions", exp.alias_(whole, part_name))
        for found in [c for c in select.find_all(exp.Column) if c.table == fact]:
            found.set("table", exp.to_identifier(name))
        select.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name)))))

    return change
