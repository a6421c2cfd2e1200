"""How alike two statements are built: the tables they read, how these are joined, what they aggregate (spec §6.6).

Names and relations only, never the text: style earns nothing. A statement that is long or deep has no structure here.
"""

from dataclasses import dataclass

from sqlglot import exp

from services.grader.variants.binding import is_plain
from services.grader.variants.hints import parse


@dataclass(frozen=True)
class Structure:
    """Three sets of names in lower case."""

    tables: frozenset[str]
    joins: frozenset[frozenset[str]]
    """Pairs of columns that are set equal: `table.column`, or `column` where the statement names no table."""
    aggregates: frozenset[str]


def structure_of(sql: str) -> Structure | None:
    """The structure of a statement; None if it cannot be read."""
    tree = parse(sql) if is_plain(sql) else None
    if tree is None:
        return None
    views = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    named = {table.alias_or_name.lower(): table.name.lower() for table in tree.find_all(exp.Table)}
    return Structure(
        tables=frozenset(named.values()) - views,
        joins=frozenset(_joins(tree, named)),
        aggregates=frozenset(call.key for call in tree.find_all(exp.AggFunc)),
    )


def likeness(ours: Structure | None, gold: Structure | None) -> float:
    """In [0, 1]: the mean Jaccard index of those sets that the gold has members in, or we have."""
    if ours is None or gold is None:
        return 0.0
    pairs = ((ours.tables, gold.tables), (ours.joins, gold.joins), (ours.aggregates, gold.aggregates))
    told = [len(a & b) / len(a | b) for a, b in pairs if a | b]
    return sum(told) / len(told) if told else 0.0


def _joins(tree: exp.Expr, named: dict[str, str]) -> set[frozenset[str]]:
    """Columns set equal by ON, WHERE or USING."""
    found = {
        frozenset((_name(equal.this, named), _name(equal.expression, named)))
        for equal in tree.find_all(exp.EQ)
        if isinstance(equal.this, exp.Column) and isinstance(equal.expression, exp.Column)
    }
    shared = [column.name.lower() for join in tree.find_all(exp.Join) for column in join.args.get("using") or ()]
    return found | {frozenset((name,)) for name in shared}


def _name(column: exp.Column, named: dict[str, str]) -> str:
    table = column.table.lower()
    return ".".join(filter(None, (named.get(table, table), column.name.lower())))
