"""sqlglot's optimiser passes as rules of the whole query: those that gave the same bag wherever they were tried."""

from collections.abc import Callable, Iterator

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.eliminate_joins import eliminate_joins
from sqlglot.optimizer.merge_subqueries import merge_subqueries
from sqlglot.optimizer.pushdown_predicates import pushdown_predicates
from sqlglot.optimizer.unnest_subqueries import unnest_subqueries

from services.policy.rewriter.sites import Place, Rule, Site

_QUANTIFIED = (exp.All, exp.Any)
"""unnest_subqueries makes functions of them that DuckDB does not have."""


def _rule_of(apply: Callable[[exp.Expr], exp.Expr]) -> Rule:
    """The pass as a rule: one site, the whole query, if it changes anything."""

    def rule(place: Place) -> Iterator[Site]:
        query = place.scope.expression
        if not place.scope.is_root or query.find(*_QUANTIFIED):
            return
        try:
            new = apply(query.copy())
        except SqlglotError:
            return
        if new != query:
            yield "query", _put(query, new)

    return rule


def _put(query: exp.Expr, new: exp.Expr) -> Callable[[], None]:
    def change() -> None:
        query.replace(new)

    return change


PASSES: dict[str, Rule] = {
    "pass_unnest_subqueries": _rule_of(unnest_subqueries),
    "pass_eliminate_joins": _rule_of(eliminate_joins),
    "pass_merge_subqueries": _rule_of(merge_subqueries),
    "pass_pushdown_predicates": _rule_of(pushdown_predicates),
}
"""By name; they are tried last, each by itself, for DuckDB does most of what they do."""
