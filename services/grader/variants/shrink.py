"""A part of a large database that still hangs together: rows that queries name, rows that join, and their parents."""

import random
from collections.abc import Sequence

from services.grader.variants.hints import Hints
from services.grader.variants.relations import Relation, Row, Tables
from services.grader.variants.rules import Rules, mend

ROWS = 80
"""Rows of a table that are kept to start from."""


def shrunk(tables: Tables, rules: Rules, hints: Hints, dice: random.Random, rows: int = ROWS) -> Tables:
    """At most about so many rows of each table; parents of the rows kept come on top."""
    if all(len(table.rows) <= rows for table in tables.values()):
        return tables
    small: Tables = {}
    for name in _parents_first(tables, rules):
        small[name] = Relation(
            tables[name].name, tables[name].columns, _picked(name, tables, small, rules, hints, dice, rows)
        )
    for name in reversed(list(small)):
        _add_parents(name, tables, small, rules)
    ordered = {name: small[name] for name in tables}
    mend(ordered, rules)
    return ordered


def _picked(
    name: str, tables: Tables, small: Tables, rules: Rules, hints: Hints, dice: random.Random, rows: int
) -> list[Row]:
    """Rows that hold a hinted value or whose parents are kept come first."""
    table = tables[name]
    if len(table.rows) <= rows:
        return [list(row) for row in table.rows]
    wanted = {place: {repr(v) for v in values} for (owner, place), values in hints.items() if owner == name}
    kept = {
        link: {repr([r[p] for p in link.others]) for r in small[link.table].rows}
        for link in rules[name].links
        if link.table in small
    }

    def score(row: Row) -> float:
        hinted = sum(repr(row[place]) in values for place, values in wanted.items())
        joined = sum(repr([row[p] for p in link.places]) in known for link, known in kept.items())
        return dice.random() + 0.5 * hinted + 2.0 * joined / max(1, len(kept))

    best = sorted(((score(row), place) for place, row in enumerate(table.rows)), reverse=True)[:rows]
    return [list(table.rows[place]) for _, place in sorted(best, key=lambda pair: pair[1])]


def _add_parents(name: str, tables: Tables, small: Tables, rules: Rules) -> None:
    for link in rules[name].links:
        theirs = small[link.table]
        known = {repr([row[p] for p in link.others]) for row in theirs.rows}
        missing = {repr([row[p] for p in link.places]) for row in small[name].rows} - known
        if missing:
            theirs.rows += [
                list(row) for row in tables[link.table].rows if repr([row[p] for p in link.others]) in missing
            ]


def _parents_first(tables: Tables, rules: Rules) -> Sequence[str]:
    """Every table after those it points to, as far as they do not point in a circle."""
    order: list[str] = []
    left = list(tables)
    while left:
        ready = [name for name in left if all(k.table in order or k.table == name for k in rules[name].links)] or left[
            :1
        ]
        order += ready
        left = [name for name in left if name not in ready]
    return order
