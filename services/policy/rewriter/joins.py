"""Rules about joins: OR split into two joins, joins that nobody reads, facts added up before they are joined."""

from collections.abc import Callable, Iterator

from sqlglot import exp

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
    shows_all,
    tables_in,
)  # fmt: skip


def unread_join(place: Place) -> Iterator[Site]:
    """A LEFT JOIN on a declared key of the right side, none of whose columns is read: drop it."""
    select = place.select
    for join in joins_of(select) if select else ():
        alias = join.alias_or_name
        if join.side != "LEFT" or not matches_once(place, join) or shows_all(select):
            continue
        readers = [found for found in place.scope.expression.find_all(exp.Column) if found.table == alias]
        if all(found.find_ancestor(exp.Join) is join for found in readers):
            yield f"left_{alias}", _dropped(join)


def _dropped(join: exp.Join) -> Callable[[], None]:
    def change() -> None:
        join.pop()

    return change


def or_join(place: Place) -> Iterator[Site]:
    """An inner join on `A OR B`: the pairs of A, and the pairs of B for which A is not true; each can hash."""
    select = place.select
    if select is None or select.args.get("laterals") or select.args.get("from_") is None:
        return
    joins = joins_of(select)
    if len(joins) != 1 or joins[0].side or joins[0].kind not in ("", "INNER") or joins[0].args.get("using"):
        return
    sides = {select.args["from_"].alias_or_name, joins[0].alias_or_name}
    for number, test in enumerate(conjuncts(joins[0].args.get("on"))):
        test = test.unnest()
        if isinstance(test, exp.Or) and all(_hashes(part, sides) for part in _disjuncts(test)):
            yield f"or{number}", _split(place, select, joins[0], test)


def _disjuncts(test: exp.Expr) -> list[exp.Expr]:
    test = test.unnest()
    return [*_disjuncts(test.left), *_disjuncts(test.right)] if isinstance(test, exp.Or) else [test]


def _hashes(test: exp.Expr, sides: set[str]) -> bool:
    """Whether the condition has an equality between the two sides."""
    return is_deterministic(test) and any(
        isinstance(part, exp.EQ)
        and [tables_in(part.left), tables_in(part.right)] in ([{a}, {b}] for a in sides for b in sides - {a})
        for part in conjuncts(test)
    )


def _split(place: Place, select: exp.Select, join: exp.Join, test: exp.Expr) -> Callable[[], None]:
    def change() -> None:
        pairs = place.fresh("pairs")
        read = sorted({(c.table, c.name) for c in _read(select, join) if c.table in place.scope.sources})
        names = {pair: f"{pair[0]}_{pair[1]}" for pair in read}
        rest = [part for part in conjuncts(join.args["on"]) if part.unnest() is not test]
        branches = []
        for number, part in enumerate(_disjuncts(test)):
            earlier = [
                exp.Is(this=exp.paren(e.copy()), expression=exp.true()).not_() for e in _disjuncts(test)[:number]
            ]
            branches.append(_branch(select, join, names, [*rest, part, *earlier]))
        union: exp.Query = branches[0]
        for branch in branches[1:]:
            union = exp.union(union, branch, distinct=False, copy=False)
        for found in _read(select, join):
            if (found.table, found.name) in names and found.find_ancestor(exp.Join) is not join:
                found.replace(column(pairs, names[found.table, found.name]))
        select.set("joins", None)
        select.set(
            "from_", exp.From(this=exp.Subquery(this=union, alias=exp.TableAlias(this=exp.to_identifier(pairs))))
        )

    return change


def _read(select: exp.Select, join: exp.Join) -> list[exp.Column]:
    return [found for found in select.find_all(exp.Column) if found.find_ancestor(exp.Join) is not join]


def _branch(select: exp.Select, join: exp.Join, names: dict[tuple[str, str], str], tests: list[exp.Expr]) -> exp.Select:
    shown = [exp.alias_(column(*pair), name) for pair, name in names.items()] or [
        exp.alias_(exp.Literal.number(1), "one")
    ]
    other = join.copy()
    other.set("on", conjunction(tests))
    branch = exp.Select(expressions=shown)
    branch.set("from_", select.args["from_"].copy())
    branch.set("joins", [other])
    return branch


_DUPLICATES_DO_NOT_COUNT = (exp.Min, exp.Max)


def fan_out(place: Place) -> Iterator[Site]:
    """LEFT JOINs that multiply rows only for COUNT(DISTINCT), MIN and MAX to undo it: aggregate each side first."""
    select = place.select
    group = select.args.get("group") if select else None
    if select is None or group is None or select.args.get("laterals"):
        return
    joins = joins_of(select)
    if not joins or any(group.args.get(kind) for kind in ("rollup", "cube", "grouping_sets", "all")):
        return
    aggregates = list(own(select, exp.AggFunc))
    if not all(map(_blind_to_duplicates, aggregates)) or list(own(select, exp.Window, exp.Star)):
        return
    for join in joins:
        keys = _simple_keys(place, join)
        alias = join.alias_or_name
        mine = [found for found in aggregates if tables_in(found) == {alias}]
        outside = [c for c in select.find_all(exp.Column) if c.table == alias and c.find_ancestor(exp.Join) is not join]
        inside = all(any(c in list(a.find_all(exp.Column)) and _within(c, a) for a in mine) for c in outside)
        counts = any(type(found) is exp.Count for found in mine)
        if keys and mine and inside and not _is_done(join) and (not counts or _one_key_a_group(place, select, keys)):
            yield f"fan_{alias}", _aggregate_first(place, select, join, keys, mine)


def _within(node: exp.Expr, ancestor: exp.Expr) -> bool:
    at: exp.Expr | None = node
    while at is not None and at is not ancestor:
        at = at.parent
    return at is ancestor


def _is_done(join: exp.Join) -> bool:
    inner = join.this
    return isinstance(inner, exp.Subquery) and isinstance(inner.this, exp.Select) and bool(inner.this.args.get("group"))


def _blind_to_duplicates(aggregate: exp.Expr) -> bool:
    if isinstance(aggregate.parent, exp.Filter):
        return False
    counted = type(aggregate) is exp.Count and isinstance(aggregate.this, exp.Distinct)
    return isinstance(aggregate, _DUPLICATES_DO_NOT_COUNT) or (counted and len(aggregate.this.expressions) == 1)


def _simple_keys(place: Place, join: exp.Join) -> list[tuple[exp.Column, exp.Expr]]:
    """The equalities of a LEFT JOIN, if it has nothing else: (its own column, the other side)."""
    if join.side != "LEFT" or join.args.get("using") or join.args.get("method"):
        return []
    alias, found = join.alias_or_name, []
    for test in conjuncts(join.args.get("on")):
        if not isinstance(test, exp.EQ):
            return []
        pairs = [
            (a, b)
            for a, b in ((test.left, test.right), (test.right, test.left))
            if isinstance(a, exp.Column) and a.table == alias
        ]
        if len(pairs) != 1 or alias in tables_in(pairs[0][1]):
            return []
        found.append(pairs[0])
    return found


def _aggregate_first(
    place: Place, select: exp.Select, join: exp.Join, keys: list[tuple[exp.Column, exp.Expr]], mine: list[exp.Expr]
) -> Callable[[], None]:
    """One row a key on the right; above, MAX of what is then the same in all rows of a group's key.

    A group may hold several keys, whose sets may overlap: so a COUNT(DISTINCT) needs that each group has one key, which
    `_one_key_a_group` tells.
    """

    def change() -> None:
        alias = join.alias_or_name
        inner = exp.Select(expressions=[exp.alias_(key.copy(), f"k{n}") for n, (key, _) in enumerate(keys)])
        inner.set("from_", exp.From(this=join.this.copy()))
        inner.set("group", exp.Group(expressions=[key.copy() for key, _ in keys]))
        for number, aggregate in enumerate(mine):
            inner.append("expressions", exp.alias_(aggregate.copy(), f"a{number}"))
            outer: exp.Expr = exp.Min if isinstance(aggregate, exp.Min) else exp.Max  # type: ignore[assignment]
            new: exp.Expr = outer(this=column(alias, f"a{number}"))  # type: ignore[operator]
            if type(aggregate) is exp.Count:
                new = exp.func("coalesce", new, exp.Literal.number(0))
            aggregate.replace(new)
        on = [exp.EQ(this=column(alias, f"k{n}"), expression=other.copy()) for n, (_, other) in enumerate(keys)]
        join.set("this", exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias))))
        join.set("on", conjunction(list(on)))

    return change


def _one_key_a_group(place: Place, select: exp.Select, keys: list[tuple[exp.Column, exp.Expr]]) -> bool:
    """Whether every row of a group has the same values on the other side of the join."""
    grouped = set(select.args["group"].expressions)
    for _, other in keys:
        if other in grouped:
            continue
        if not isinstance(other, exp.Column):
            return False
        base = place.base(other.table)
        names = (
            [base.columns.get(k.name, "") for k in grouped if isinstance(k, exp.Column) and k.table == other.table]
            if base
            else []
        )
        if base is None or base.columns.get(other.name) not in place.facts.determined(base.table, names):
            return False
    return True
