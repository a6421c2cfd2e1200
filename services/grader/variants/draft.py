"""A variant in the making: rows that may be drawn, copied and keyed anew under the rules of its database."""

import random
import re
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from services.grader.variants.hints import Hints
from services.grader.variants.relations import Relation, Row, Tables, copied
from services.grader.variants.rules import Link, Rules, TableRules

HINTED = 0.5
"""How often a drawn value is one that the queries' constants suggest, where there is any."""
FEW_PARENTS = 3
"""New rows often point to so few parents, so that groups of several sizes arise."""
UNUSUAL = 0.15
"""How often an amount is drawn half or twice as large as any of the column's."""
MOST_ROWS, MOST_CHILDREN = 400, 30
COUNTED = re.compile(r"year|month|day|date|hour|week|rank|age$|^age|pos|number|grade|level|zip|phone", re.IGNORECASE)
_NUMBERS = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*)$")
Place = tuple[str, int]


class Draft:
    """Tables to be changed, and what may be put into them. `base` is the whole database, which stays as it is."""

    def __init__(self, base: Tables, start: Tables, rules: Rules, hints: Hints, dice: random.Random) -> None:
        self.tables = copied(start)
        self.rules = rules
        self.hints = hints
        self.dice = dice
        self._base = base
        self._domains: dict[Place, list[object]] = {}

    def domain(self, table: str, place: int) -> list[object]:
        """The distinct values of a column in the whole database, in a lasting order."""
        if (table, place) not in self._domains:
            values = {repr(value): value for value in self._base[table].values(place)}
            self._domains[table, place] = [values[key] for key in sorted(values)]
        return self._domains[table, place]

    def may_be_null(self, table: str, place: int) -> bool:
        """Whether a cell of the column may be NULL: one that carries identity only if the database has such cells."""
        rule = self.rules[table]
        if place in rule.never_null or any(place in key for key in rule.keys[:1]):
            return False
        return place not in rule.fixed or len(self._base[table].values(place)) < len(self._base[table].rows)

    def value(self, table: str, place: int) -> object:
        """A value for a column that carries no identity; NULL if there is none to draw."""
        hints = self.hints.get((table, place))
        if hints and self.dice.random() < HINTED:
            return self.dice.choice(hints)
        domain = self.domain(table, place)
        if not domain:
            return None
        value = self.dice.choice(domain)
        if self.is_measure(table, place) and self.dice.random() < UNUSUAL:
            return _rescaled(value, self.dice.choice((2, 0.5)), self.tables[table].columns[place][1])
        return value

    def is_measure(self, table: str, place: int) -> bool:
        """Whether a column holds amounts: numbers of many sizes that are no key, no year and no rank."""
        name, kind = self.tables[table].columns[place]
        if place in self.rules[table].fixed or COUNTED.search(name) or not _NUMBERS.match(kind):
            return False
        return len(self.domain(table, place)) > 2

    def free_places(self, table: str) -> list[int]:
        """The columns that carry no identity."""
        fixed = self.rules[table].fixed
        return [place for place in range(len(self.tables[table].columns)) if place not in fixed]

    def add_row(self, table: str, freedom: float) -> Row | None:
        """A new row like one that is there: another key, other parents, and such a part of its values drawn anew."""
        relation, rule = self.tables[table], self.rules[table]
        if not relation.rows:
            return None
        row = list(self.dice.choice(relation.rows))
        for place in self.free_places(table):
            if self.dice.random() < freedom:
                row[place] = self.value(table, place)
        for link in rule.links:
            self.point(row, link)
        if not self.rekey(row, relation, rule):
            return None
        relation.rows.append(row)
        return row

    def point(self, row: Row, link: Link) -> None:
        """Let a row point to some parent, often one of few."""
        parents = self.tables[link.table].rows
        if not parents:
            return
        parent = self.dice.choice(parents[:FEW_PARENTS] if self.dice.random() < 0.5 else parents)
        for mine, theirs in zip(link.places, link.others, strict=True):
            row[mine] = parent[theirs]

    def rekey(self, row: Row, relation: Relation, rule: TableRules) -> bool:
        """Give a row unused keys, parents aside; False if it cannot be told apart from the others then."""
        linked = {place for link in rule.links for place in link.places}
        for key in rule.keys:
            own = [place for place in key if place not in linked]
            if not own and self._is_taken(row, key, relation):
                return False
            for place in own[:1]:
                fresh = self._fresh(relation, place)
                if fresh is None:
                    return False
                row[place] = fresh
        return True

    def classes(self) -> list[list[Place]]:
        """Columns of keys and links, those together that have to hold the same values."""
        parent: dict[Place, Place] = {}

        def root(place: Place) -> Place:
            while parent.setdefault(place, place) != place:
                place = parent[place]
            return place

        for table, rule in self.rules.items():
            for place in sorted(rule.fixed):
                root((table, place))
            for link in rule.links:
                for mine, theirs in zip(link.places, link.others, strict=True):
                    parent[root((table, mine))] = root((link.table, theirs))
        groups: dict[Place, list[Place]] = defaultdict(list)
        for column in list(parent):
            groups[root(column)].append(column)
        return [groups[key] for key in sorted(groups)]

    def clone_family(self, table: str, row: Row, depth: int = 3) -> None:
        """The same row again under another key, and all that points to it, so that whatever is counted of it ties."""
        relation, rule = self.tables[table], self.rules[table]
        twin = list(row)
        if len(relation.rows) >= MOST_ROWS or not self.rekey(twin, relation, rule):
            return
        relation.rows.append(twin)
        for other, theirs in self.rules.items():
            for link in theirs.links if depth else ():
                if link.table == table and other != table:
                    self._clone_children(other, link, row, twin, depth)

    def _clone_children(self, table: str, link: Link, parent: Row, twin: Row, depth: int) -> None:
        mine, now = [parent[p] for p in link.others], [twin[p] for p in link.others]
        rows = self.tables[table].rows
        for child in [row for row in rows if [row[p] for p in link.places] == mine][:MOST_CHILDREN]:
            copy = list(child)
            for place, value in zip(link.places, now, strict=True):
                copy[place] = value
            self.clone_family(table, copy, depth - 1)

    def orphan(self, table: str, place: int) -> object:
        """A value for a broken foreign key that nobody has."""
        return self._fresh(self.tables[table], place)

    @staticmethod
    def _is_taken(row: Row, key: tuple[int, ...], relation: Relation) -> bool:
        cells = [row[place] for place in key]
        return any([other[place] for place in key] == cells for other in relation.rows)

    def _fresh(self, relation: Relation, place: int) -> object:
        """A value that the column does not hold yet, in the manner of those that it holds; None if none is known."""
        values = relation.values(place)
        known = {repr(value) for value in values} | {repr(v) for v in self.domain(relation.name.lower(), place)}
        whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
        if values and len(whole) == len(values):
            return self._beyond(max(whole), known)
        texts = [value for value in values if isinstance(value, str)]
        if texts:
            text = self.dice.choice(texts)
            return next(f"{text}{n}" for n in range(2, 10_000) if repr(f"{text}{n}") not in known)
        days = [value for value in values if isinstance(value, date)]
        return max(days) + timedelta(days=self.dice.randint(1, 9)) if days else None

    def _beyond(self, most: int, known: set[str]) -> int:
        step = self.dice.randint(1, 3)
        while repr(most + step) in known:
            step += 1
        return most + step


def _rescaled(value: object, factor: float, kind: str) -> object:
    """A number times the factor, as its column holds it; the number itself where that does not fit."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    if isinstance(value, float):
        return value * factor
    if isinstance(value, int):
        return (
            round(value * factor) if abs(value) < 2**29 and not kind.startswith(("TINY", "SMALL", "UTINY")) else value
        )
    width, scale = (int(part) for part in kind[8:-1].split(","))
    larger = (value * Decimal(str(factor))).quantize(Decimal(1).scaleb(-scale))
    return larger if abs(larger) < 10 ** (width - scale) else value
