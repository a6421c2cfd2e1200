"""Naming: the columns that stand for a row, and those that an adjective speaks of."""

from services.policy.heuristic.joining import key_of
from services.policy.heuristic.reading import Column, Table
from services.policy.heuristic.words import identifier_words

_IMPLIED = {
    ("oldest", "older", "youngest", "younger", "age", "aged", "old"): ("age", "birth"),
    ("longest", "longer", "shortest", "shorter"): ("length", "duration", "distance", "height", "time"),
    ("tallest", "taller"): ("height",),
    ("heaviest", "heavier", "lightest", "lighter"): ("weight",),
    ("latest", "later", "newest", "recent", "recently", "earliest", "earlier", "last", "first", "after", "before"): (
        "date",
        "year",
        "time",
    ),
    ("expensive", "cheapest", "cheaper"): ("price", "cost"),
    ("fastest", "faster", "slowest", "slower"): ("speed", "time"),
    ("largest", "larger", "biggest", "bigger", "smallest"): ("area", "size", "capacity", "population"),
    ("richest",): ("salary", "income", "asset"),
    ("best", "better", "worst"): ("rank", "rating", "score"),
    ("year", "since"): ("year",),
}


def name_columns(table: Table) -> list[Column]:
    """The columns that a reader would call the row by, best first."""
    owner = identifier_words(table.name)
    exact = [c for c in table.columns if identifier_words(c.name) in (("name",), (*owner, "name"), ("title",), owner)]
    first = [c for c in table.columns if identifier_words(c.name)[-2:] in (("first", "name"), ("last", "name"))]
    ending = [c for c in table.columns if {"name", "title"} & set(identifier_words(c.name)[-1:])]
    return exact or first or ending


def label_columns(table: Table) -> list[Column]:
    """What to show for a row where the question names no column; never empty."""
    named = name_columns(table)
    if named and identifier_words(named[0].name)[-2:] == ("first", "name"):
        return named[:2]
    return named[:1] or [key_of(table)]


def implied_column(table: Table, adjective: str) -> Column | None:
    """The column that the adjective compares by, or None."""
    for adjectives, measures in _IMPLIED.items():
        if adjective in adjectives:
            found = (c for measure in measures for c in table.columns if measure in identifier_words(c.name))
            return next(found, None)
    return None
