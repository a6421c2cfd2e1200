"""What every variant keeps: the stated keys that hold on the database itself, and inferred ones that do.

A foreign key that the database breaks is no rule: its variants may have orphans too. One without a NULL stays so. An
inferred key is a rule only where nothing was stated, and only if the rows keep it (docs/grading.md).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from services.contracts.keys import ForeignKey, TableKeys
from services.grader.variants.relations import Relation, Row, Tables

_KEY_NAME = re.compile(r"(^|_)(id|code|key|no|number)$|id$", re.IGNORECASE)
_WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "HUGEINT", "UBIGINT", "UINTEGER")


@dataclass(frozen=True)
class Link:
    """A foreign key by places; a loose one is broken in the database itself."""

    places: tuple[int, ...]
    table: str
    others: tuple[int, ...]
    loose: bool


@dataclass(frozen=True)
class TableRules:
    """The rules of one table, by the places of its columns."""

    keys: tuple[tuple[int, ...], ...] = ()
    never_null: frozenset[int] = frozenset()
    links: tuple[Link, ...] = ()
    linked_to: frozenset[int] = field(default=frozenset())

    @property
    def fixed(self) -> frozenset[int]:
        """The columns that carry identity: in a key, in a link, or linked to."""
        places = {place for key in self.keys for place in key} | {p for link in self.links for p in link.places}
        return frozenset(places | self.linked_to)


Rules = dict[str, TableRules]


def rules_of(tables: Tables, stated: Sequence[TableKeys] | None) -> Rules:
    """The rules of a database, by lower-case table name."""
    by_name = {keys.table.lower(): keys for keys in stated or ()}
    keys = {name: _keys(table, by_name.get(name)) for name, table in tables.items()}
    links = {name: _links(name, tables, keys, by_name.get(name)) for name in tables}
    rules: Rules = {}
    for name, table in tables.items():
        linked = {p for others in links.values() for link in others if link.table == name for p in link.others}
        never = _never_null(table, by_name.get(name), stated is not None) | {p for key in keys[name][:1] for p in key}
        pointing = {place for link in links[name] for place in link.places}
        never |= {place for place in pointing if len(table.values(place)) == len(table.rows)}
        rules[name] = TableRules(keys[name], frozenset(never), links[name], frozenset(linked))
    return rules


def with_names(rules: Rules, tables: Tables) -> Rules:
    """The rules, and that no name comes up twice: a text column without a key's standing that tells all rows apart."""
    return {
        name: replace(
            rule,
            keys=rule.keys
            + tuple(
                (place,)
                for place, (_, kind) in enumerate(tables[name].columns)
                if kind == "VARCHAR"
                and (place,) not in rule.keys
                and not _linked(rule, place)
                and len(tables[name].rows) > 1
                and len(tables[name].values(place)) == len(tables[name].rows)
                and _is_unique(tables[name], (place,))
            ),
        )
        for name, rule in rules.items()
    }


def _linked(rule: TableRules, place: int) -> bool:
    return any(place in link.places for link in rule.links)


def broken(tables: Tables, rules: Rules) -> list[str]:
    """The rules that tables break, in words; none for a valid variant."""
    said = []
    for name, table in tables.items():
        rule = rules[name]
        said += [f"{name}: key {key}" for key in rule.keys if not _is_unique(table, key)]
        said += [f"{name}: NULL in {p}" for p in rule.never_null if any(row[p] is None for row in table.rows)]
        said += [f"{name}: {link}" for link in rule.links if not link.loose and _orphans(table, link, tables)]
    return said


def mend(tables: Tables, rules: Rules) -> None:
    """Drop the rows that break a rule, until none does."""
    changed = True
    while changed:
        changed = False
        for name, table in tables.items():
            kept = _kept(table, rules[name], tables)
            changed |= len(kept) < len(table.rows)
            table.rows[:] = kept


def _kept(table: Relation, rule: TableRules, tables: Tables) -> list[Row]:
    parents = [
        (link, {_cells(row, link.others) for row in tables[link.table].rows}) for link in rule.links if not link.loose
    ]
    seen: list[set[tuple[object, ...]]] = [set() for _ in rule.keys]
    kept = []
    for row in table.rows:
        cells = [_cells(row, key) for key in rule.keys]
        fresh = all(None in cell or cell not in known for cell, known in zip(cells, seen, strict=True))
        whole = all(row[place] is not None for place in rule.never_null)
        fed = all(None in _cells(row, link.places) or _cells(row, link.places) in known for link, known in parents)
        if fresh and whole and fed:
            kept.append(row)
            for cell, known in zip(cells, seen, strict=True):
                known.add(cell)
    return kept


def _keys(table: Relation, stated: TableKeys | None) -> tuple[tuple[int, ...], ...]:
    """The keys that hold, the primary key first."""
    named = [stated.primary_key, *stated.unique] if stated is not None else []
    found = [tuple(table.place(column) for column in key) for key in named if key and _has(table, key)]
    found = [key for key in found if _is_unique(table, key)]
    if not (stated is not None and stated.primary_key) and table.columns:
        guess = (0,)
        name, kind = table.columns[0]
        likely = _KEY_NAME.search(name) is not None or name.lower().startswith(table.name.lower().rstrip("s"))
        whole = len(table.values(0)) == len(table.rows) > 0
        if likely and whole and kind in (*_WHOLE, "VARCHAR") and guess not in found and _is_unique(table, guess):
            found.insert(0, guess)
    return tuple(dict.fromkeys(found))


def _links(
    name: str, tables: Tables, keys: dict[str, tuple[tuple[int, ...], ...]], stated: TableKeys | None
) -> tuple[Link, ...]:
    table = tables[name]
    found: dict[tuple[int, ...], Link] = {}
    for foreign in stated.foreign_keys if stated is not None else ():
        link = _stated_link(table, foreign, tables)
        if link is not None:
            found[link.places] = link
    for place, (column, kind) in enumerate(table.columns):
        for other, theirs in tables.items():
            if other == name or (place,) in found or not keys[other] or len(keys[other][0]) != 1:
                continue
            theirs_at = keys[other][0][0]
            same = theirs.columns[theirs_at][0].lower() == column.lower() and theirs.columns[theirs_at][1] == kind
            link = Link((place,), other, (theirs_at,), loose=False)
            if same and _KEY_NAME.search(column) and table.rows and not _orphans(table, link, tables):
                found[(place,)] = link
    return tuple(found.values())


def _stated_link(table: Relation, foreign: ForeignKey, tables: Tables) -> Link | None:
    other = tables.get(foreign.table.lower())
    if other is None or not _has(table, foreign.columns) or not _has(other, foreign.other):
        return None
    places = tuple(table.place(column) for column in foreign.columns)
    others = tuple(other.place(column) for column in foreign.other)
    if len(places) != len(others) or any(
        table.columns[a][1] != other.columns[b][1] for a, b in zip(places, others, strict=True)
    ):
        return None
    link = Link(places, foreign.table.lower(), others, loose=False)
    return Link(places, link.table, others, loose=bool(_orphans(table, link, tables)))


def _never_null(table: Relation, stated: TableKeys | None, known: bool) -> set[int]:
    """Columns that stay without NULL: stated so, or, where nothing is stated of the database, without one now."""
    if stated is not None:
        named = {table.place(column) for column in stated.not_null if _has(table, (column,))}
        return {place for place in named if len(table.values(place)) == len(table.rows)}
    if known:
        return set()
    return {place for place in range(len(table.columns)) if len(table.values(place)) == len(table.rows)}


def _has(table: Relation, columns: Sequence[str]) -> bool:
    return {column.lower() for column in columns} <= {name.lower() for name, _ in table.columns}


def _cells(row: Row, places: tuple[int, ...]) -> tuple[object, ...]:
    return tuple(row[place] for place in places)


def _is_unique(table: Relation, key: tuple[int, ...]) -> bool:
    cells = [cell for cell in (_cells(row, key) for row in table.rows) if None not in cell]
    return len(set(cells)) == len(cells)


def _orphans(table: Relation, link: Link, tables: Tables) -> bool:
    known = {_cells(row, link.others) for row in tables[link.table].rows}
    return any(None not in cells and cells not in known for cells in (_cells(row, link.places) for row in table.rows))
