"""Likely wrong queries, made from the gold: what a good variant tells from it.

Each mutant is one slip in one place. The same tree gives the same mutants in the same order.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from services.grader.variants import slips

MOST = 40
"""Mutants of one task; the kinds take turns, so that none is crowded out."""
Schema = Mapping[str, Mapping[str, str]]
"""Tables, each with its columns and their types; all names in lower case."""


@dataclass(frozen=True)
class Mutant:
    """One wrong query and the kind of slip."""

    kind: str
    sql: str


Slip = Callable[[exp.Expr, Schema], Iterator[exp.Expr]]
KINDS: Mapping[str, Slip] = {
    "DISTINCT dropped": slips.without_distinct,
    "predicate dropped": slips.without_predicate,
    "bound moved": slips.other_bound,
    "INNER for LEFT, or back": slips.other_join,
    "COUNT(*) for COUNT(col), or back": slips.other_count,
    "wrong join column": slips.other_join_column,
    "ORDER BY missing": slips.without_order,
    "tie-break missing": slips.without_tie_break,
    "order turned": slips.other_direction,
    "AND for OR, or back": slips.other_connective,
    "MAX for MIN, or another aggregate": slips.other_aggregate,
    "wrong aggregate level": slips.other_level,
    "columns swapped": slips.swapped_columns,
    "wrong column": slips.other_column,
    "other constant": slips.other_constant,
    "LIMIT off": slips.other_limit,
    "other set operation": slips.other_set_operation,
    "looser LIKE": slips.other_pattern,
    "join dropped": slips.without_join,
}
HARD_CODED_ANSWER = "hard-coded answer"


def mutants_of(tree: exp.Expr, schema: Schema, sql: str) -> list[Mutant]:
    """The mutants of a gold query, none of them written like it. The answer as a constant comes from elsewhere."""
    seen = {sql, tree.sql(dialect="duckdb")}
    by_kind: list[list[Mutant]] = []
    for kind, slip in KINDS.items():
        found = []
        for changed in slip(tree, schema):
            text = changed.sql(dialect="duckdb")
            if text not in seen:
                seen.add(text)
                found.append(Mutant(kind, text))
        by_kind.append(found)
    rounds = max(map(len, by_kind), default=0)
    mixed = [found[turn] for turn in range(rounds) for found in by_kind if turn < len(found)]
    return mixed[:MOST]
