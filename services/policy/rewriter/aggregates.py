"""Rules about aggregates: many scalars in one join, sums of cases in two stages, lists that are only added up."""

from collections.abc import Callable, Iterator

from sqlglot import exp

from services.policy.rewriter.predicates import replaced
from services.policy.rewriter.sites import (
    Place, Site, column, conjunction, conjuncts, is_deterministic, joins_of, own, set_where, tables_in,
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
    for number, (signature, nodes) in enumerate(found.items()):
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
    if not isinstance(inner, exp.Select) or len(inner.selects) != 1 or not isinstance(inner.args["from_"].this, exp.Table):
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
            (a, b) for a, b in sides if isinstance(a, exp.Column) and a.table == alias and tables_in(b) and alias not in tables_in(b)
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
        on = conjunction([exp.EQ(this=column(alias, f"k{n}"), expression=other.copy()) for n, (_, other) in enumerate(keys)])
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
        return aggregate.parent.expression.this
    case = aggregate.this
    if isinstance(case, exp.Case) and len(case.args["ifs"]) == 1 and case.this is None and isinstance(aggregate, _ADDED):
        return case.args["ifs"][0].this
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
        if node in grouped or any(node is found or node is found.parent and isinstance(node, exp.Filter) for found in aggregates):
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
        inner.set("group", exp.Group(expressions=[*(key.copy() for key in grouped), *(column(*mark) for mark in marks)]))
        partial: dict[exp.Expr, str] = {}
        for aggregate in aggregates:
            test, part = _partial(aggregate)
            part_name = partial.setdefault(part, f"p{len(partial)}")
            new = _added(aggregate, test and _renamed(test, marks, name), column(name, part_name))
            (aggregate.parent if isinstance(aggregate.parent, exp.Filter) else aggregate).replace(new)
        for part, part_name in partial.items():
            inner.append("expressions", exp.alias_(part, part_name))
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
    return holder.this


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


_LIST_FUNCTIONS = {"list_sum": exp.Sum, "list_max": exp.Max, "list_min": exp.Min, "list_avg": exp.Avg}


def lists_added_up(place: Place) -> Iterator[Site]:
    """A list that is gathered in a group only to be counted or added up: the aggregate itself."""
    select = place.select
    if select is None or not select.args.get("group"):
        return
    for number, node in enumerate(own(select, exp.Length, exp.Anonymous, exp.ArraySize, exp.ArraySum, exp.ArrayMax, exp.ArrayMin)):
        new = _of_list(node)
        if new is not None:
            yield f"list{number}", replaced(node, new)


def _gathered(node: exp.Expr | None) -> exp.Expr | None:
    if not isinstance(node, exp.ArrayAgg) or isinstance(node.this, exp.Distinct):
        return None
    return node.this.this if isinstance(node.this, exp.Order) else node.this


def _of_list(node: exp.Expr) -> exp.Expr | None:
    name = node.name.lower() if isinstance(node, exp.Anonymous) else ""
    argument = node.expressions[0] if isinstance(node, exp.Anonymous) and node.expressions else node.this
    if isinstance(node, exp.Length | exp.ArraySize) or name in ("len", "array_length"):
        if _gathered(argument) is not None:
            return exp.Count(this=exp.Star())
        inner = _distinct_of(argument)
        return exp.Count(this=exp.Distinct(expressions=[inner.copy()])) if inner is not None else None
    value = _gathered(argument)
    if value is None:
        return None
    if name == "list_unique":
        return exp.Count(this=exp.Distinct(expressions=[value.copy()]))
    typed = {exp.ArraySum: exp.Sum, exp.ArrayMax: exp.Max, exp.ArrayMin: exp.Min}
    kind = _LIST_FUNCTIONS.get(name) or typed.get(type(node))
    return kind(this=value.copy()) if kind else None


def _distinct_of(node: exp.Expr) -> exp.Expr | None:
    if isinstance(node, exp.ArrayDistinct):
        return _gathered(node.this)
    if isinstance(node, exp.Anonymous) and node.name.lower() in ("list_distinct", "array_distinct"):
        return _gathered(node.expressions[0])
    return None


def list_round_trip(place: Place) -> Iterator[Site]:
    """unnest() of lists that a subquery gathered by its GROUP BY: the rows themselves."""
    select = place.select
    if select is None or joins_of(select) or select.args.get("group") or select.args.get("from_") is None:
        return
    source = select.args["from_"].this
    inner = source.this if isinstance(source, exp.Subquery) else None
    rows = list(own(select, exp.Explode, exp.Unnest))
    if not isinstance(inner, exp.Select) or len(rows) != 1 or not isinstance(rows[0], exp.Explode):
        return
    unfit = any(inner.args.get(part) for part in ("having", "limit", "distinct", "qualify", "order", "offset", "laterals"))
    if unfit or not inner.args.get("group") or list(own(inner, exp.Window)):
        return
    taken = rows[0].this
    gathered = [shown for shown in inner.selects if _gathered(shown.unalias()) is not None]
    others = [shown.unalias() for shown in inner.selects if shown not in gathered]
    keys = inner.args["group"].expressions
    if len(gathered) != 1 or not isinstance(taken, exp.Column) or gathered[0].alias != taken.name:
        return
    readers = [c for c in select.find_all(exp.Column) if c.name == taken.name and c.table == taken.table]
    if len(readers) == 1 and others and all(other in keys for other in others):
        yield "unnest", _ungroup(rows[0], inner, gathered[0])


def _ungroup(rows: exp.Expr, inner: exp.Select, gathered: exp.Expr) -> Callable[[], None]:
    def change() -> None:
        value = _gathered(gathered.unalias())
        assert value is not None
        gathered.set("this", value.copy())
        inner.set("group", None)
        rows.replace(rows.this)

    return change


def add_up_before_join(place: Place) -> Iterator[Site]:
    """A fact table joined only to be grouped by the other sides: add it up by its join keys first."""
    select = place.select
    group = select.args.get("group") if select else None
    joins = joins_of(select) if select else []
    if select is None or group is None or not joins or _unfit_to_stage(select, group) or select.args.get("laterals"):
        return
    fact = select.args["from_"].alias_or_name
    if any(j.side not in ("", "LEFT") or j.kind not in ("", "INNER", "OUTER") or j.args.get("using") or j.args.get("method") for j in joins):
        return
    if not isinstance(select.args["from_"].this, exp.Table) or place.base(fact) is None or list(select.find_all(exp.Query))[1:]:
        return
    aggregates = list(own(select, exp.AggFunc))
    fit = all(_plain(a, _ADDED) and not isinstance(a.this, exp.Distinct) and not isinstance(a.parent, exp.Filter) for a in aggregates)
    if aggregates and fit and all(tables_in(a) <= {fact} and is_deterministic(a) for a in aggregates):
        mine = [test for test in conjuncts(select.args.get("where")) if tables_in(test) == {fact} and is_deterministic(test)]
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
        for part, part_name in partial.items():
            inner.append("expressions", exp.alias_(part, part_name))
        for found in [c for c in select.find_all(exp.Column) if c.table == fact]:
            found.set("table", exp.to_identifier(name))
        select.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name)))))

    return change
