"""How near a query's result is to the gold, in [0, 1], not yet binned (sqlenv-v1-spec §3.2).

A value that the query brought along as a constant is no progress: it was guessed, not found.
"""

from collections import Counter
from collections.abc import Callable

from services.contracts.cells import cell_number, cell_text
from services.contracts.statements import Cell, ResultTable, Rows
from services.grader.gold import GoldAnswer
from services.grader.matching import Kind, Value, close, column_kinds, gold_value
from services.grader.reading import normal_text, read_number

TABLE_ROWS = 1_000


def progress(gold: GoldAnswer, result: ResultTable) -> float:
    """The metric of the gold's answer type; 0 for a result of another shape, an empty or a cut one."""
    if not result.rows or result.truncated:
        return 0.0
    echoed = _echo_test(result.facts.literals)
    if gold.answer_type == "table":
        return _table(gold, result.rows, echoed)
    if len(result.columns) != 1:
        return 0.0
    if gold.answer_type == "list":
        return _list(gold, result.rows, echoed)
    if len(result.rows) != 1 or echoed(result.rows[0][0]):
        return 0.0
    return _scalar(gold, result.rows[0][0])


def _echo_test(literals: tuple[str, ...]) -> Callable[[Cell], bool]:
    """Tells the cells that repeat a constant of the statement, whatever its sign."""
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


def _list(gold: GoldAnswer, rows: Rows, echoed: Callable[[Cell], bool]) -> float:
    golds = gold.rows()
    kind = column_kinds(golds)[0]
    mine = {gold_value(row[0], kind) for row in rows if not echoed(row[0])}
    return _jaccard(mine, {gold_value(row[0], kind) for row in golds})


def _table(gold: GoldAnswer, rows: Rows, echoed: Callable[[Cell], bool]) -> float:
    """Half for columns whose values are the gold's, half for whole rows; both over a sample of 1,000 rows."""
    golds = gold.rows()
    kinds = column_kinds(golds)
    rows, golds = rows[:TABLE_ROWS], golds[:TABLE_ROWS]
    return 0.5 * _column_overlap(rows, golds, kinds, echoed) + 0.5 * _row_overlap(rows, golds, kinds, echoed)


def _column_overlap(rows: Rows, golds: Rows, kinds: list[Kind], echoed: Callable[[Cell], bool]) -> float:
    """Each gold column with its best partner among the result's columns, over the larger number of columns."""
    columns = list(zip(*rows, strict=True))
    total = 0.0
    for kind, cells in zip(kinds, zip(*golds, strict=True), strict=True):
        truth = {gold_value(cell, kind) for cell in cells}
        partners = ({gold_value(c, kind) for c in column if not echoed(c)} for column in columns)
        total += max((_jaccard(partner, truth) for partner in partners), default=0.0)
    return total / max(len(kinds), len(columns))


def _row_overlap(rows: Rows, golds: Rows, kinds: list[Kind], echoed: Callable[[Cell], bool]) -> float:
    """The bags' overlap over their union; a row of nothing but echoes and NULLs counts for no row found."""
    if len(rows[0]) != len(kinds):
        return 0.0
    found = [row for row in rows if not _is_brought(row, echoed)]
    mine = Counter(tuple(map(gold_value, row, kinds)) for row in found)
    theirs = Counter(tuple(map(gold_value, row, kinds)) for row in golds)
    return (mine & theirs).total() / (mine | theirs).total()


def _is_brought(row: list[Cell], echoed: Callable[[Cell], bool]) -> bool:
    """Whether a row has an echoed cell and holds nothing else but NULLs."""
    known = [echoed(cell) for cell in row if cell is not None]
    return bool(known) and all(known)


def _jaccard(mine: set[Value], theirs: set[Value]) -> float:
    return len(mine & theirs) / len(mine | theirs) if mine or theirs else 0.0
