"""How near a query's result is to the gold, in [0, 1], not yet binned (sqlenv-v1-spec §3.2).

A value that the query brought along as a constant is no progress: it was guessed, not found.
"""

from collections import Counter
from collections.abc import Callable

from services.contracts.cells import cell_number, cell_text
from services.contracts.statements import Cell, ResultTable, Rows
from services.grader.gold import GoldAnswer
from services.grader.matching import Value, close, column_kinds, gold_value
from services.grader.reading import normal_text, read_number

TABLE_ROWS = 1_000


class Yardstick:
    """One gold answer, made ready once for all the results that are held against it."""

    def __init__(self, gold: GoldAnswer) -> None:
        rows = gold.rows()
        self._gold = gold
        self._kinds = column_kinds(rows)
        sample = rows[:TABLE_ROWS] if gold.answer_type == "table" else rows
        self._columns = [
            {gold_value(cell, kind) for cell in cells}
            for kind, cells in zip(self._kinds, zip(*sample, strict=True), strict=True)
        ]
        self._rows = Counter(tuple(map(gold_value, row, self._kinds)) for row in sample)

    def progress(self, result: ResultTable) -> float:
        """The metric of the gold's answer type; 0 for a result of another shape, an empty or a cut one."""
        if not result.rows or result.truncated:
            return 0.0
        echoed = _echo_test(result.facts.literals)
        if self._gold.answer_type == "table":
            rows = result.rows[:TABLE_ROWS]
            return 0.5 * self._column_overlap(rows, echoed) + 0.5 * self._row_overlap(rows, echoed)
        if len(result.columns) != 1:
            return 0.0
        if self._gold.answer_type == "list":
            mine = {gold_value(row[0], self._kinds[0]) for row in result.rows if not echoed(row[0])}
            return _jaccard(mine, self._columns[0])
        if len(result.rows) != 1 or echoed(result.rows[0][0]):
            return 0.0
        return _scalar(self._gold, result.rows[0][0])

    def _column_overlap(self, rows: Rows, echoed: Callable[[Cell], bool]) -> float:
        """Each gold column with its best partner among the result's columns, over the larger number of columns."""
        found = [[cell for cell in column if not echoed(cell)] for column in zip(*rows, strict=True)]
        partners = {kind: [{gold_value(cell, kind) for cell in cells} for cells in found] for kind in set(self._kinds)}
        pairs = zip(self._kinds, self._columns, strict=True)
        total = sum(max(_jaccard(partner, truth) for partner in partners[kind]) for kind, truth in pairs)
        return total / max(len(self._kinds), len(found))

    def _row_overlap(self, rows: Rows, echoed: Callable[[Cell], bool]) -> float:
        """The bags' overlap over their union; a row of nothing but echoes and NULLs counts for no row found."""
        if len(rows[0]) != len(self._kinds):
            return 0.0
        found = [row for row in rows if not _is_brought(row, echoed)]
        mine = Counter(tuple(map(gold_value, row, self._kinds)) for row in found)
        return (mine & self._rows).total() / (mine | self._rows).total()


def progress(gold: GoldAnswer, result: ResultTable) -> float:
    """How near one result is to a gold answer; see Yardstick."""
    return Yardstick(gold).progress(result)


def _echo_test(literals: tuple[str, ...]) -> Callable[[Cell], bool]:
    """Tells the cells that repeat a constant of the statement, whatever its sign."""
    if not literals:
        return lambda cell: False
    numbers = {abs(n) for n in map(read_number, literals) if n is not None}
    texts = {normal_text(literal) for literal in literals}

    def echoed(cell: Cell) -> bool:
        number = cell_number(cell)
        if number is not None:
            return abs(number) in numbers
        return cell is not None and normal_text(cell_text(cell)) in texts

    return echoed


def _scalar(gold: GoldAnswer, cell: Cell) -> float:
    if gold.answer_type == "string":
        same = normal_text(cell_text(cell)) == normal_text(cell_text(gold.gold_answer))
        return 1.0 if cell is not None and same else 0.0
    number, truth = cell_number(cell), cell_number(gold.gold_answer)
    if number is None or truth is None:
        return 0.0
    if gold.answer_type == "float" and close(number, truth, gold.tolerance):
        return 1.0
    return max(0.0, 1.0 - abs(float(number) - float(truth)) / max(1.0, abs(float(truth))))


def _is_brought(row: list[Cell], echoed: Callable[[Cell], bool]) -> bool:
    """Whether a row has an echoed cell and holds nothing else but NULLs."""
    known = [echoed(cell) for cell in row if cell is not None]
    return bool(known) and all(known)


def _jaccard(mine: set[Value], theirs: set[Value]) -> float:
    if not mine and not theirs:
        return 0.0
    both = len(mine & theirs)
    return both / (len(mine) + len(theirs) - both)
