"""How an answer may follow from a result: the ways that can be stated, so that they can be followed on other rows.

Ways, the plainest first: the rows as they are; some columns of them; the first rows or the last one; the row that the
question names; how many rows there are; each value once.
"""

import re
from collections.abc import Iterator
from itertools import islice, product
from typing import Literal

from services.contracts.cells import cell_text
from services.contracts.record import Record
from services.contracts.statements import Rows
from services.grader.gold import GoldAnswer
from services.grader.reading import normal_text, read_list
from services.grader.variants.agreement import Expected, agrees

MAPPINGS = 16
"""Ways to pick columns that are tried for one choice of rows."""
LOOKUPS = 8
LOOKED_AT = 1_000
"""Rows in which a value is looked for that the question names."""
Which = Literal["all", "first", "last", "named", "count"]


class Way(Record):
    """From a result to an answer."""

    which: Which
    columns: tuple[int, ...] = ()
    first: int = 0
    key: int = 0
    named: str = ""
    once: bool = False

    def follow(self, rows: Rows) -> Rows:
        """The answer's rows."""
        if self.which == "count":
            return [[len(rows)]]
        picked = self._picked(rows)
        taken = [[row[place] for place in self.columns] for row in picked]
        return _once(taken) if self.once else taken

    def in_words(self) -> str:
        """As a person would state it."""
        rows = {
            "all": "its rows", "first": f"its first {self.first} rows", "last": "its last row",
            "named": f"the row of {self.named!r}", "count": "the number of its rows",
        }[self.which]  # fmt: skip
        columns = "" if self.which == "count" else f", columns {', '.join(str(place + 1) for place in self.columns)}"
        return rows + columns + (", each once" if self.once else "")

    def _picked(self, rows: Rows) -> Rows:
        match self.which:
            case "first":
                return rows[: self.first]
            case "last":
                return rows[-1:]
            case "named":
                return [row for row in rows if normal_text(cell_text(row[self.key])) == self.named]
            case _:
                return rows


def ways(gold: GoldAnswer, answer: str, question: str, rows: Rows) -> Iterator[Way]:
    """Every way by which these rows of the database itself give the gold; if the rows do as they are, only that."""
    plain = plain_way(gold, rows)
    yield from (plain,) if plain is not None else other_ways(gold, answer, question, rows)


def plain_way(gold: GoldAnswer, rows: Rows) -> Way | None:
    """The rows as they are, if they give the gold on the database itself."""
    expected = _expected(gold)
    width = len(expected.rows[0])
    if rows and len(rows[0]) == width and agrees(gold, expected, rows):
        return Way(which="all", columns=tuple(range(width)))
    return None


def other_ways(gold: GoldAnswer, answer: str, question: str, rows: Rows) -> Iterator[Way]:
    """Every way by which rows of the database itself give the gold that do not as they are."""
    expected = _expected(gold)
    if not rows:
        return
    for shape in _shapes(gold, question, rows):
        picked = shape.model_copy(update={"columns": tuple(range(len(rows[0])))}).follow(rows)
        if picked:
            yield from _mapped(gold, expected, shape, picked)
    if gold.answer_type == "integer" and len(rows) == gold.gold_answer and len(rows[0]) > 0:
        yield Way(which="count")
    if gold.answer_type == "list" and not gold.ordered and _says_each_once(answer):
        yield from _mapped(gold, expected, Way(which="all", once=True), rows)


def _expected(gold: GoldAnswer) -> Expected:
    return Expected(rows=tuple(tuple(row) for row in gold.rows()), tie_groups=gold.tie_groups)


def _shapes(gold: GoldAnswer, question: str, rows: Rows) -> Iterator[Way]:
    count = len(gold.rows())
    yield Way(which="all")
    if len(rows) > count:
        yield Way(which="first", first=count)
        if count == 1:
            yield Way(which="last")
            yield from islice(_named(question, rows), LOOKUPS)


def _named(question: str, rows: Rows) -> Iterator[Way]:
    """Rows that a value picks which the question spells out."""
    words = question.casefold()
    seen: set[tuple[int, str]] = set()
    for row in rows[:LOOKED_AT]:
        for key, cell in enumerate(row):
            text = normal_text(cell_text(cell)) if cell is not None else ""
            if (
                text
                and text in words
                and (key, text) not in seen
                and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", words)
            ):
                seen.add((key, text))
                yield Way(which="named", key=key, named=text)


def _mapped(gold: GoldAnswer, expected: Expected, shape: Way, rows: Rows) -> Iterator[Way]:
    """The shape with each choice of columns that gives the gold."""
    width = len(expected.rows[0])
    places = range(len(rows[0]))
    loose = gold.model_copy(update={"ordered": False, "answer_type": "table"})
    if shape.once or gold.answer_type == "list":
        loose = loose.model_copy(update={"answer_type": "list"})
    fitting: list[list[int]] = []
    for column in range(width):
        alone = Expected(rows=tuple((row[column],) for row in expected.rows))
        fitting.append([p for p in places if agrees(loose, alone, _column(rows, p, shape.once))])
    for columns in islice(product(*fitting), MAPPINGS):
        way = shape.model_copy(update={"columns": columns})
        taken = [[row[place] for place in columns] for row in rows]
        if len(set(columns)) == width and agrees(gold, expected, _once(taken) if shape.once else taken):
            yield way


def _column(rows: Rows, place: int, once: bool) -> Rows:
    column = [[row[place]] for row in rows]
    return _once(column) if once else column


def _once(rows: Rows) -> Rows:
    return list({repr([normal_text(cell_text(cell)) for cell in row]): row for row in reversed(rows)}.values())[::-1]


def _says_each_once(answer: str) -> bool:
    said = [normal_text(cell_text(cell)) for cell in read_list(answer)]
    return len(set(said)) == len(said)
