"""The ten mutations of a database (sqlenv-v1-spec §6.2), and a mixture of them.

Each keeps schema, types, keys, uniqueness and the domain of every column: a value is one that the column holds, one
that the questions' constants compare it with, a fresh key, or the whole column in another unit.
"""

import random
from collections.abc import Callable, Mapping
from decimal import Decimal

from services.grader.variants.draft import COUNTED, Draft, Place
from services.grader.variants.relations import shuffle

FEWEST, MOST = 4, 12
"""Rows that are added to a table, at least and at most."""
FAMILIES = 3
LABELS = 40
"""A text column with more values names things rather than kinds of things."""
Mutation = Callable[[Draft], None]


def permute_rows(draft: Draft) -> None:
    """1: the rows of every table in another order."""
    shuffle(draft.tables, draft.dice)


def add_irrelevant_rows(draft: Draft) -> None:
    """2: rows beside what the questions ask for, at the borders of their predicates too."""
    for table in draft.tables:
        _add(draft, table, 0.6)


def add_dangling_entities(draft: Draft) -> None:
    """3: entities that no fact points to."""
    for table in draft.tables:
        if draft.rules[table].linked_to:
            for _ in range(FEWEST):
                draft.add_row(table, 0.3)


def remap_keys(draft: Draft) -> None:
    """4: a bijection over the values of each key, in all columns that point to it."""
    for places in draft.classes():
        found = {repr(v): v for table, place in places for v in draft.tables[table].values(place)}
        names = sorted(found)
        others = names[:]
        draft.dice.shuffle(others)
        shift = _shift(draft, places, found)
        renamed = {name: _shifted(found[other], shift) for name, other in zip(names, others, strict=True)}
        for table, place in places:
            for row in draft.tables[table].rows:
                if row[place] is not None:
                    row[place] = renamed[repr(row[place])]


def duplicate_bridge_rows(draft: Draft) -> None:
    """5: rows that point to parents, twice; under another key or to another parent where a key forbids the same."""
    for table, relation in draft.tables.items():
        rule = draft.rules[table]
        if not rule.links and rule.keys:
            continue
        for row in draft.dice.sample(relation.rows, min(MOST, (len(relation.rows) + 2) // 3)):
            twin = list(row)
            linked = {place for link in rule.links for place in link.places}
            if any(set(key) <= linked for key in rule.keys):
                draft.point(twin, draft.dice.choice(rule.links))
            free = draft.free_places(table)
            if free and draft.dice.random() < 0.4:  # the same but for one value
                place = draft.dice.choice(free)
                twin[place] = draft.value(table, place)
            if draft.rekey(twin, relation, rule):
                relation.rows.append(twin)


def perturb_nulls(draft: Draft) -> None:
    """6: NULL in some cells of the columns that may hold it."""
    for table, relation in draft.tables.items():
        for place in range(len(relation.columns)):
            if relation.rows and draft.may_be_null(table, place):
                for row in draft.dice.sample(relation.rows, max(1, len(relation.rows) // 8)):
                    row[place] = None


def scale_units(draft: Draft) -> None:
    """7: the measures of a column times a factor."""
    for table, relation in draft.tables.items():
        for place in draft.free_places(table):
            factor = draft.dice.choice((2, 3, 10))
            values = relation.values(place)
            if not draft.is_measure(table, place) or not _has_room(relation.columns[place][1], values, factor):
                continue
            for row in relation.rows:
                if row[place] is not None:
                    row[place] = row[place] * factor  # type: ignore[operator]


def add_noise_facts(draft: Draft) -> None:
    """8: facts that point nowhere, where the database has such facts or lets them be NULL; else to anybody."""
    for table in draft.tables:
        links = draft.rules[table].links
        for _ in range(FEWEST if links else 0):
            row = draft.add_row(table, 0.3)
            loose = [link for link in links if link.loose or all(draft.may_be_null(table, p) for p in link.places)]
            if row is not None and loose:
                link = draft.dice.choice(loose)
                for place in link.places:
                    null = draft.may_be_null(table, place) and draft.dice.random() < 0.5
                    row[place] = None if null else draft.orphan(table, place) if link.loose else row[place]


def tie_values(draft: Draft) -> None:
    """9: more rows that hold a column's largest, smallest or some other value; entities twice, with all their facts."""
    for table, relation in draft.tables.items():
        if draft.rules[table].linked_to:
            for row in draft.dice.sample(relation.rows, min(FAMILIES, len(relation.rows))):
                draft.clone_family(table, row)
    for table, relation in draft.tables.items():
        if len(relation.rows) < 2:
            continue
        for place in draft.free_places(table):
            values = sorted(relation.values(place), key=_order)
            if values:
                value = draft.dice.choice((values[0], values[-1], draft.dice.choice(values)))
                for row in draft.dice.sample(relation.rows, max(2, len(relation.rows) // 6)):
                    row[place] = value


def swap_labels(draft: Draft) -> None:
    """10: a permutation of the labels of each text column."""
    for table, relation in draft.tables.items():
        for place in draft.free_places(table):
            labels = sorted({value for value in relation.values(place) if isinstance(value, str)})
            if relation.columns[place][1] == "VARCHAR" and 1 < len(labels) <= LABELS:
                turned = draft.dice.randrange(1, len(labels))
                renamed = dict(zip(labels, labels[turned:] + labels[:turned], strict=True))
                for row in relation.rows:
                    if isinstance(row[place], str):
                        row[place] = renamed[str(row[place])]


def redraw(draft: Draft) -> None:
    """Other values and parents in the rows that are there, so that every combination may occur."""
    share = draft.dice.choice((0.2, 0.4, 0.7))
    for table, relation in draft.tables.items():
        for row in relation.rows:
            for place in draft.free_places(table):
                if draft.dice.random() < share:
                    row[place] = draft.value(table, place)
            for link in draft.rules[table].links:
                if draft.dice.random() < share and not any(set(link.places) & set(k) for k in draft.rules[table].keys):
                    draft.point(row, link)


def mix(draft: Draft) -> None:
    """Values redrawn, and most of the ten at once."""
    redraw(draft)
    add_irrelevant_rows(draft)
    for mutation in MIXED:
        if draft.dice.random() < 0.6:
            mutation(draft)
    permute_rows(draft)


def _add(draft: Draft, table: str, freedom: float) -> None:
    count = max(FEWEST, min(MOST, len(draft.tables[table].rows) // 3))
    for _ in range(count):
        draft.add_row(table, freedom)


def _shift(draft: Draft, places: list[Place], found: dict[str, object]) -> int:
    """How much larger whole-number keys become: to another magnitude, unless they count or are asked for by value."""
    whole = all(type(value) is int and 0 <= value < 10**7 for value in found.values())
    wide = all(draft.tables[t].columns[p][1] in ("BIGINT", "INTEGER") for t, p in places)
    counted = any(COUNTED.search(draft.tables[table].columns[place][0]) for table, place in places)
    hinted = any(place in draft.hints for place in places)
    if not (whole and wide and found) or counted or hinted:
        return 0
    least = min(value for value in found.values() if isinstance(value, int))
    return draft.dice.choice((100_000_000, 1 - least))


def _shifted(value: object, shift: int) -> object:
    return value + shift if shift and isinstance(value, int) else value


def _has_room(kind: str, values: list[object], factor: int) -> bool:
    """Whether a column measures something, and its type holds the values times the factor."""
    numbers = [value for value in values if isinstance(value, int | float | Decimal) and not isinstance(value, bool)]
    if not numbers or len(numbers) < len(values) or len(set(numbers)) < 3:
        return False
    most = max(abs(float(number)) for number in numbers) * factor
    if kind.startswith("DECIMAL("):
        width, scale = kind[8:-1].split(",")
        return most < float(10 ** (int(width) - int(scale)))
    return kind in ("DOUBLE", "FLOAT") or (kind.endswith(("INT", "INTEGER")) and most < 2**31)


def _order(value: object) -> tuple[str, float, str]:
    """Sorts numbers by value and all else by text."""
    if isinstance(value, int | float | Decimal):
        return "number", float(value), ""
    return type(value).__name__, 0.0, str(value)


MUTATIONS: Mapping[str, Mutation] = {
    "row order": permute_rows,
    "irrelevant rows": add_irrelevant_rows,
    "dangling entities": add_dangling_entities,
    "key re-encoding": remap_keys,
    "duplicate bridges": duplicate_bridge_rows,
    "NULLs": perturb_nulls,
    "unit scaling": scale_units,
    "noise facts": add_noise_facts,
    "ties": tie_values,
    "label swap": swap_labels,
}
MIX = "mixed"
MIXED = (
    add_dangling_entities,
    remap_keys,
    duplicate_bridge_rows,
    perturb_nulls,
    add_noise_facts,
    tie_values,
    swap_labels,
)


def mutated(draft: Draft, name: str) -> None:
    """Apply a mutation by its name."""
    (mix if name == MIX else MUTATIONS[name])(draft)


def dice_of(seed: int, *parts: object) -> random.Random:
    """The generator of one variant: the same for the same seed and parts."""
    return random.Random("/".join(map(str, (seed, *parts))))
