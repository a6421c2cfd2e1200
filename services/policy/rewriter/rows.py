"""Rules about duplicates and order: work for a property that the rows have anyway, or that nobody reads."""

from collections.abc import Callable, Iterator

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from services.policy.rewriter.sites import Base, Place, Site, conjuncts, joins_of, own

_ORDERED = (
    exp.ArrayAgg, exp.GroupConcat, exp.First, exp.Last, exp.AnyValue, exp.ArgMax, exp.ArgMin, exp.FirstValue,
    exp.LastValue, exp.NthValue, exp.Anonymous, exp.AnonymousAggFunc, exp.Limit, exp.Offset, exp.TableSample,
    exp.WithinGroup, exp.RowNumber, exp.Lag, exp.Lead, exp.Rand,
)  # fmt: skip
_EXACT_IN_ANY_ORDER = (exp.Count, exp.Min, exp.Max, exp.Sum, exp.Avg)


def distinct_on_key(place: Place) -> Iterator[Site]:
    """DISTINCT over rows that a declared key of every source tells apart: drop it."""
    select = place.select
    distinct = select.args.get("distinct") if select else None
    if select is not None and distinct is not None and not distinct.args.get("on") and rows_differ(place):
        yield "distinct", lambda: select.set("distinct", None)


def rows_differ(place: Place) -> bool:
    """Whether no two rows of the select are equal, by declared keys or by its own GROUP BY."""
    select = place.select
    if select is None or select.args.get("from_") is None or select.args.get("laterals"):
        return False
    if list(own(select, exp.Explode, exp.Unnest)):
        return False
    shown = {column.unalias() for column in select.selects}
    if select.args.get("group"):
        return _groups_shown(select, shown)
    if any(not found.find_ancestor(exp.Window) for found in own(select, exp.AggFunc)):
        return False
    return _keyed(place, select.args["from_"].alias_or_name, shown) and all(
        matches_once(place, join) for join in joins_of(select)
    )


def _groups_shown(select: exp.Select, shown: set[exp.Expr]) -> bool:
    group = select.args["group"]
    plain = not any(group.args.get(kind) for kind in ("rollup", "cube", "grouping_sets", "all", "totals"))
    return plain and bool(group.expressions) and set(group.expressions) <= shown


def _keyed(place: Place, alias: str, shown: set[exp.Expr]) -> bool:
    base = place.base(alias)
    own_columns = [found for found in shown if isinstance(found, exp.Column) and found.table == alias]
    names = [base.columns.get(found.name, "") for found in own_columns] if base else []
    return base is not None and place.facts.unique(base.table, names)


def matches_once(place: Place, join: exp.Join) -> bool:
    """Whether a row on the left finds at most one partner: the join's equalities cover a key of the right side."""
    if join.side in ("RIGHT", "FULL") or join.kind not in ("", "INNER", "OUTER") or join.args.get("using"):
        return False
    if join.args.get("method"):
        return False
    alias = join.alias_or_name
    base = place.base(alias)
    if base is None:
        return False
    names = []
    for test in conjuncts(join.args.get("on")):
        for one, other in ((test.args.get("this"), test.args.get("expression")),) if isinstance(test, exp.EQ) else ():
            for mine, theirs in ((one, other), (other, one)):
                if (
                    isinstance(mine, exp.Column)
                    and mine.table == alias
                    and alias not in {c.table for c in _columns(theirs)}
                ):
                    names.append(base.columns.get(mine.name, ""))
    return place.facts.unique(base.table, names)


def _columns(tree: exp.Expr | None) -> list[exp.Column]:
    if tree is None:
        return []
    return [tree] if isinstance(tree, exp.Column) else list(tree.find_all(exp.Column))


def union_all(place: Place) -> Iterator[Site]:
    """UNION of branches that have no duplicates and cannot overlap, by keys and constants: UNION ALL."""
    union = place.scope.expression
    if type(union) is not exp.Union or union.args.get("distinct") is False:
        return
    branches = [branch for branch in _branches(union) if isinstance(branch, exp.Select)]
    if len(branches) != len(_branches(union)):
        return
    scopes = _branch_scopes(place.scope)
    if len(scopes) == len(branches) and all(rows_differ(Place(scope, place.facts, place.root)) for scope in scopes):
        marks = zip(*([_constant(column.unalias()) for column in branch.selects] for branch in branches), strict=True)
        if any(None not in mark and len(set(mark)) == len(mark) for mark in marks):

            def change() -> None:
                for found in [union, *union.find_all(exp.Union)]:
                    if any(branch.parent is found for branch in branches):
                        found.set("distinct", False)
                union.set("distinct", False)

            yield "union", change


def _branches(union: exp.Expr) -> list[exp.Expr]:
    """The selects of a union whose parts are unions without ALL too."""
    if type(union) is exp.Union and union.args.get("distinct") is not False and not union.args.get("limit"):
        return [*_branches(union.this), *_branches(union.expression)]
    return [union]


def _branch_scopes(scope: Scope) -> list[Scope]:
    if isinstance(scope.expression, exp.Union):
        return [found for part in scope.set_operation_scopes for found in _branch_scopes(part)]
    return [scope]


def _constant(node: exp.Expr) -> tuple[str, bool] | None:
    return (node.name, node.is_string) if isinstance(node, exp.Literal) and (node.is_string or node.is_int) else None


def unread_order(place: Place) -> Iterator[Site]:
    """ORDER BY without LIMIT in a subquery or CTE, where nothing of the query depends on the order of rows."""
    found = place.scope.expression
    inner = found.parent is not None and found.parent is not place.root
    ordered = found.args.get("order") is not None and not found.args.get("limit") and not found.args.get("offset")
    if inner and ordered and not reads_order(place.root) and not _sums_floats(place):
        yield "order", lambda: found.set("order", None)


def reads_order(tree: exp.Expr) -> bool:
    """Whether anything in the tree may depend on the order in which rows come."""
    return any(not isinstance(node, exp.Anonymous) or not _scalar(node) for node in tree.find_all(*_ORDERED))


def _scalar(node: exp.Anonymous) -> bool:
    return node.name.lower() in ("date_part", "strftime", "list_sum", "suffix", "coalesce", "epoch", "hash")


def _sums_floats(place: Place) -> bool:
    """Sums of floats stay within the tolerance in any order; nothing else that is order-dependent is left."""
    return any(not isinstance(node, _EXACT_IN_ANY_ORDER) for node in place.root.find_all(exp.AggFunc))


def window_and_distinct(place: Place) -> Iterator[Site]:
    """DISTINCT over aggregates as windows of one partition and its columns: GROUP BY."""
    select = place.select
    if select is None or select.args.get("distinct") is None or select.args["distinct"].args.get("on"):
        return
    windows = list(own(select, exp.Window))
    blocked = any(select.args.get(part) for part in ("group", "qualify", "having", "limit", "order", "windows"))
    if not windows or blocked or not all(map(_whole_partition, windows)):
        return
    keys = windows[0].args.get("partition_by") or []
    if not keys or any(set(window.args.get("partition_by") or []) != set(keys) for window in windows):
        return
    if all(_of_keys(column.unalias(), keys) for column in select.selects):
        yield "group", lambda: _group(select, keys)


def _whole_partition(window: exp.Expr) -> bool:
    plain = isinstance(window.this, _EXACT_IN_ANY_ORDER) or type(window.this) is exp.Count
    return plain and not window.args.get("order") and not window.args.get("spec") and not window.args.get("alias")


def _of_keys(node: exp.Expr, keys: list[exp.Expr]) -> bool:
    """Whether the column is made of partition keys, windows and constants only."""
    if node in keys or isinstance(node, exp.Window):
        return True
    if isinstance(node, exp.Column | exp.Query):
        return False
    return all(_of_keys(child, keys) for child in node.iter_expressions())


def _group(select: exp.Select, keys: list[exp.Expr]) -> None:
    shown = {column.unalias() for column in select.selects}
    group = exp.Group(expressions=[key.copy() for key in keys])
    for window in list(own(select, exp.Window)):
        window.replace(window.this)
    select.set("group", group)
    if set(keys) <= shown:
        select.set("distinct", None)


def grouped_dependents(place: Place) -> Iterator[Site]:
    """GROUP BY columns that other grouped columns determine, by a key or dependency: take any value of them."""
    select = place.select
    group = select.args.get("group") if select else None
    if (
        select is None
        or group is None
        or any(group.args.get(kind) for kind in ("rollup", "cube", "grouping_sets", "all"))
    ):
        return
    by_alias: dict[str, list[exp.Column]] = {}
    for key in group.expressions:
        if isinstance(key, exp.Column):
            by_alias.setdefault(key.table, []).append(key)
    for alias, keys in by_alias.items():
        base = place.base(alias)
        needless = _needless(place, base, keys) if base else []
        if needless and len(group.expressions) > len(needless):
            yield f"group_{alias}", _any_values(select, needless)


def _needless(place: Place, base: Base, keys: list[exp.Column]) -> list[exp.Column]:
    """As many of the keys as the others determine."""
    gone: list[exp.Column] = []
    for key in reversed(keys):
        rest = [
            base.columns.get(other.name, "") for other in keys if other is not key and not any(other is g for g in gone)
        ]
        if rest and base.columns.get(key.name) in place.facts.determined(base.table, rest) - set(rest):
            gone.append(key)
    return gone


def _any_values(select: exp.Select, needless: list[exp.Column]) -> Callable[[], None]:
    def change() -> None:
        group = select.args["group"]
        names = set(needless)
        parts = [
            *select.selects,
            *(select.args[part] for part in ("having", "order", "qualify") if select.args.get(part)),
        ]
        for part in parts:
            for node in [node for node in part.walk() if node in names]:
                if node.find_ancestor(exp.AggFunc) is None:
                    node.replace(exp.AnyValue(this=node.copy()))
        group.set("expressions", [key for key in group.expressions if not any(key is gone for gone in needless)])

    return change
