"""Answers put together from several queries: the compositions that can be stated, followed on every variant.

Stated are: a value that one query found and a later one carries as a constant; values side by side; a sum, difference,
product, quotient or percentage of two values; union, intersection and difference of two lists.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from services.contracts.cells import cell_number, cell_text
from services.contracts.grading import Found
from services.contracts.statements import Cell, Rows
from services.grader.gold import GoldAnswer
from services.grader.reading import normal_text
from services.grader.variants.agreement import Expected, agrees
from services.grader.variants.binding import Binding, bindings
from services.grader.variants.support import Way, ways

MOST = 6
"""Compositions of one answer that are replayed."""


@dataclass(frozen=True)
class Composition:
    """Rows made from the rows of some statements, in words and as a function."""

    said: str
    parts: tuple[Found, ...]
    make: Callable[[Sequence[Rows]], Rows | None]


def composed(gold: GoldAnswer, sources: Sequence[Found]) -> list[Composition]:
    """The compositions of results that give the gold on the database itself, the plainest first."""
    expected = Expected(rows=tuple(tuple(row) for row in gold.rows()), tie_groups=gold.tie_groups)
    found = []
    for candidate in (*_side_by_side(gold, sources), *_arithmetic(sources), *_of_lists(gold, sources)):
        rows = candidate.make([part.result.rows for part in candidate.parts])
        if rows is not None and agrees(gold, expected, rows):
            found.append(candidate)
    return found[:MOST]


def dependent(
    gold: GoldAnswer, answer: str, question: str, sources: Sequence[Found]
) -> list[tuple[Found, Way, tuple[Binding, ...], str]]:
    """Statements that lead to the gold and carry constants that earlier statements found."""
    found = []
    for source in sources:
        carried = tuple(bindings(source, [s for s in sources if s.step < source.step], question))
        if carried:
            found += [(source, way, carried, question) for way in ways(gold, answer, question, source.result.rows)]
    return found[:MOST]


def _side_by_side(gold: GoldAnswer, sources: Sequence[Found]) -> list[Composition]:
    """Each value of a short answer from a statement that gives just it."""
    cells = [cell for row in gold.rows() for cell in row]
    if not 1 < len(cells) <= 8 or gold.answer_type not in ("list", "table"):
        return []
    alone = {_text(value): source for source in sources if (value := _only(source.result.rows)) is not None}
    if any(_text(cell) not in alone for cell in cells):
        return []
    width = len(gold.rows()[0])
    parts = tuple(alone[_text(cell)] for cell in cells)

    def make(rows: Sequence[Rows]) -> Rows | None:
        values = [_only(part) for part in rows]
        if None in values:
            return None
        return [list(values[start : start + width]) for start in range(0, len(values), width)]

    return [Composition("side by side: " + _steps(parts), parts, make)]


def _arithmetic(sources: Sequence[Found]) -> list[Composition]:
    alone = [source for source in sources if _number(source.result.rows) is not None]
    return [
        Composition(f"{name}: {_steps((one, two))}", (one, two), _calculation(operation))
        for one, two in permutations(alone, 2)
        for name, operation in _OPERATIONS.items()
    ]


def _calculation(operation: Callable[[float, float], float]) -> Callable[[Sequence[Rows]], Rows | None]:
    def make(rows: Sequence[Rows]) -> Rows | None:
        one, two = _number(rows[0]), _number(rows[1])
        if one is None or two is None:
            return None
        try:
            value = operation(one, two)
        except (ZeroDivisionError, OverflowError):
            return None
        whole = value.is_integer() and abs(value) < 2**53
        return [[int(value) if whole else value]]

    return make


_OPERATIONS: Mapping[str, Callable[[float, float], float]] = {
    "difference": lambda a, b: a - b,
    "sum": lambda a, b: a + b,
    "quotient": lambda a, b: a / b,
    "percentage": lambda a, b: 100 * a / b,
    "product": lambda a, b: a * b,
}


def _of_lists(gold: GoldAnswer, sources: Sequence[Found]) -> list[Composition]:
    if gold.answer_type != "list" or gold.ordered:
        return []
    lists = [source for source in sources if source.result.rows and len(source.result.rows[0]) == 1]
    return [
        Composition(f"{name}: {_steps((one, two))}", (one, two), make)
        for one, two in permutations(lists, 2)
        for name, make in _LISTS.items()
    ]


def _texts(rows: Rows) -> dict[str, list[Cell]]:
    return {_text(row[0]): [row[0]] for row in rows}


_LISTS: Mapping[str, Callable[[Sequence[Rows]], Rows | None]] = {
    "intersection": lambda rows: [row for text, row in _texts(rows[0]).items() if text in _texts(rows[1])],
    "what only the first has": lambda rows: [
        row for text, row in _texts(rows[0]).items() if text not in _texts(rows[1])
    ],
    "union": lambda rows: list({**_texts(rows[0]), **_texts(rows[1])}.values()),
}


def _only(rows: Rows) -> Cell:
    """The one value of a result, or None."""
    return rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else None


def _number(rows: Rows) -> float | None:
    number = cell_number(_only(rows))
    return None if number is None else float(number)


def _text(cell: Cell) -> str:
    return normal_text(cell_text(cell))


def _steps(parts: Sequence[Found]) -> str:
    return ", ".join(f"step {part.step}" for part in parts)
