"""Whether a submitted answer equals the gold: binary, by answer type (sqlenv-v1-spec §3.3, §4.2).

Never paid: an empty answer, a bool for a number, NaN, a list where one value is asked for, a list that holds more.
"""

import json
from collections.abc import Sequence
from decimal import Decimal

from services.contracts.cells import cell_number, cell_text
from services.contracts.statements import Cell, Rows
from services.grader.gold import GoldAnswer
from services.grader.matching import (
    Kind,
    Value,
    close,
    column_kinds,
    equal_bags,
    equal_in_groups,
    equal_sequences,
    equal_sets,
    gold_value,
    submitted_value,
)
from services.grader.reading import MAX_CHARACTERS, normal_text, read_list, read_number, read_table

LEAST_LIMIT = 10_000
ROOM = 16


def is_correct(gold: GoldAnswer, answer: str) -> bool:
    """Whether the text is the gold's value. Never raises."""
    if not answer.strip() or (len(answer) > LEAST_LIMIT and len(answer) > _limit(gold)):
        return False
    match gold.answer_type:
        case "integer":
            number = read_number(answer)
            return number is not None and number == cell_number(gold.gold_answer)
        case "float":
            return _is_float(gold, read_number(answer))
        case "string":
            return normal_text(answer) == normal_text(cell_text(gold.gold_answer)) != ""
        case "list":
            return _is_list(gold, answer)
        case "table":
            return _is_table(gold, answer)


def _limit(gold: GoldAnswer) -> int:
    """The most characters read: far more than writing the gold takes, so that a long text costs little time."""
    return min(MAX_CHARACTERS, LEAST_LIMIT + ROOM * len(submission(gold.gold_answer)))


def _is_float(gold: GoldAnswer, number: Decimal | None) -> bool:
    truth = cell_number(gold.gold_answer)
    return number is not None and truth is not None and close(number, truth, gold.tolerance)


def _is_list(gold: GoldAnswer, answer: str) -> bool:
    rows = gold.rows()
    kind = column_kinds(rows)[0]
    golds = [gold_value(row[0], kind) for row in rows]
    values = [submitted_value(cell, kind) for cell in read_list(answer)]
    if not gold.ordered:
        return equal_sets(values, golds, kind, gold.tolerance)
    tolerances = [gold.tolerance if kind == "float" else 0.0]
    return _same_order([[v] for v in values], [[g] for g in golds], tolerances, gold.tie_groups)


def _is_table(gold: GoldAnswer, answer: str) -> bool:
    golds = gold.rows()
    rows, may_have_header = read_table(answer)
    width = len(golds[0])
    if len(golds) == 1 and len(rows) == width and all(len(row) == 1 for row in rows):
        rows = [[row[0] for row in rows]]  # one row, written flat
    if may_have_header and rows and _is_header(rows[0], column_kinds(golds)):
        rows = rows[1:]
    return gives_gold(gold, rows)


def _is_header(row: list[Cell], kinds: list[Kind]) -> bool:
    """Whether a row cannot be data: text in a number column. Whatever else might be a header might be a guess."""
    return len(row) == len(kinds) and any(
        kind != "text" and isinstance(submitted_value(cell, kind), str) for cell, kind in zip(row, kinds, strict=True)
    )


def gives_gold(gold: GoldAnswer, rows: Rows) -> bool:
    """Whether rows equal the gold's: a sequence if ordered (tied rows in any order), else a bag."""
    golds = gold.rows()
    width = len(golds[0])
    if len(rows) != len(golds) or any(len(row) != width for row in rows):
        return False
    kinds = column_kinds(golds)
    tolerances = [gold.tolerance if kind == "float" else 0.0 for kind in kinds]
    mine = [[submitted_value(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in rows]
    theirs = [[gold_value(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in golds]
    if gold.ordered:
        return _same_order(mine, theirs, tolerances, gold.tie_groups)
    return equal_bags(mine, theirs, tolerances)


def _same_order(
    rows: Sequence[Sequence[Value]], golds: Sequence[Sequence[Value]], tolerances: Sequence[float], ties: Sequence[int]
) -> bool:
    if ties:
        return equal_in_groups(rows, golds, tolerances, ties)
    return equal_sequences(rows, golds, tolerances)


def submission(answer: Cell) -> str:
    """A gold answer (a cell, a list or rows) as an agent could write it."""
    if isinstance(answer, list):
        return json.dumps(
            [[_written(cell) for cell in item] if isinstance(item, list) else _written(item) for item in answer]
        )
    return cell_text(answer)


def _written(cell: Cell) -> Cell:
    return cell if cell is None or (cell_number(cell) is not None and not isinstance(cell, dict)) else cell_text(cell)
