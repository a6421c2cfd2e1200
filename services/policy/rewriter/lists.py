"""Rules about lists that are gathered only to be counted, added up or taken apart again."""

from collections.abc import Callable, Iterator

from sqlglot import exp

from services.policy.rewriter.predicates import replaced
from services.policy.rewriter.sites import Place, Site, joins_of, own

_LIST_FUNCTIONS: dict[str, type[exp.AggFunc]] = {
    "list_sum": exp.Sum,
    "list_max": exp.Max,
    "list_min": exp.Min,
    "list_avg": exp.Avg,
}


def lists_added_up(place: Place) -> Iterator[Site]:
    """A list that is gathered in a group only to be counted or added up: the aggregate itself."""
    select = place.select
    if select is None or not select.args.get("group"):
        return
    for number, node in enumerate(
        own(select, exp.Length, exp.Anonymous, exp.ArraySize, exp.ArraySum, exp.ArrayMax, exp.ArrayMin)
    ):
        new = _of_list(node)
        if new is not None:
            yield f"list{number}", replaced(node, new)


def _gathered(node: exp.Expr | None) -> exp.Expr | None:
    if not isinstance(node, exp.ArrayAgg) or isinstance(node.this, exp.Distinct):
        return None
    value: exp.Expr = node.this.this if isinstance(node.this, exp.Order) else node.this
    return value


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
    typed: dict[type[exp.Expr], type[exp.AggFunc]] = {
        exp.ArraySum: exp.Sum,
        exp.ArrayMax: exp.Max,
        exp.ArrayMin: exp.Min,
    }
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
    unfit = any(
        inner.args.get(part) for part in ("having", "limit", "distinct", "qualify", "order", "offset", "laterals")
    )
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
        gathered.set("this", _gathered(gathered.unalias()))
        inner.set("group", None)
        rows.replace(rows.this)

    return change
