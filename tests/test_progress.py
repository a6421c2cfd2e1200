"""How near a result is to the gold, by the formulas of sqlenv-v1-spec §3.2."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.contracts.statements import Cell, QueryFacts, ResultTable, Rows
from services.grader.gold import AnswerType, GoldAnswer, shape_answer
from services.grader.progress import TABLE_ROWS, progress

FACTS = QueryFacts(tables=(), columns=(), tree="", skeleton="", literals=(), from_data=True, volatile=False)


def gold_of(answer_type: AnswerType, answer: Cell) -> GoldAnswer:
    return GoldAnswer(task_id="t", gold_sql="", gold_answer=answer, answer_type=answer_type)


def result_of(rows: Rows, *literals: str, truncated: bool = False, width: int = 1) -> ResultTable:
    columns = tuple(f"c{n}" for n in range(len(rows[0]) if rows else width))
    facts = FACTS.model_copy(update={"literals": literals})
    return ResultTable(columns=columns, types=("VARCHAR",) * len(columns), rows=rows, truncated=truncated, facts=facts)


COUNT = gold_of("integer", 100)
NONE = gold_of("integer", 0)
MEAN = gold_of("float", 50.0)
NAME = gold_of("string", "Paris")
SET = gold_of("list", ["a", "b", "c", "d"])
SUMS = gold_of("list", [1.5, {"decimal": "2.50"}])
TABLE = gold_of("table", [["a", 1], ["b", 2], ["c", 3], ["d", 4]])

SCALARS = [
    (COUNT, 100, 1.0), (COUNT, 100.0, 1.0), (COUNT, 75, 0.75), (COUNT, 125, 0.75), (COUNT, 99, 0.99), (COUNT, 0, 0.0),
    (COUNT, -100, 0.0), (COUNT, 201, 0.0), (COUNT, 10**30, 0.0), (NONE, 0, 1.0), (NONE, 1, 0.0), (NONE, 0.25, 0.75),
    (COUNT, None, 0.0), (COUNT, True, 0.0), (COUNT, "100", 0.0), (COUNT, {"float": "inf"}, 0.0),
    (COUNT, {"float": "nan"}, 0.0), (COUNT, {"decimal": "NaN"}, 0.0), (COUNT, {"decimal": "80"}, 0.8),
    (gold_of("integer", -4), -3, 0.75), (gold_of("integer", -4), 4, 0.0),
    (MEAN, 50.0, 1.0), (MEAN, 50.4, 1.0), (MEAN, 49.6, 1.0), (MEAN, 51, 0.98), (MEAN, 25, 0.5), (MEAN, -1, 0.0),
    (gold_of("float", 0.5), 0.4, 0.9), (gold_of("float", {"decimal": "0.50"}), 0.5, 1.0), (MEAN, 1e300, 0.0),
    (NAME, "Paris", 1.0), (NAME, " PARIS. ", 1.0), (NAME, "Rome", 0.0), (NAME, "Pari", 0.0), (NAME, None, 0.0),
    (gold_of("string", {"date": "2024-01-31"}), {"date": "2024-01-31"}, 1.0), (gold_of("string", "5"), 5, 1.0),
]  # fmt: skip

LISTS: list[tuple[GoldAnswer, list[Cell], float]] = [
    (SET, ["a", "b", "c", "d"], 1.0), (SET, ["d", "c", "B", "a", "a"], 1.0), (SET, ["a", "b"], 0.5), (SET, ["x"], 0.0),
    (SET, ["a", "b", "c", "d", "e"], 0.8), (SET, ["a", "x", "y", "z"], 1 / 7), (SET, [None], 0.0), (SET, [1, 2], 0.0),
    (SUMS, [2.5, 1.5], 1.0), (SUMS, [{"decimal": "1.5"}, 7], 1 / 3),
    (gold_of("list", [1, None]), [None, 1], 1.0), (gold_of("list", [1, 0]), [True, False], 0.0),
]  # fmt: skip

TABLES: list[tuple[Rows, float]] = [
    ([["a", 1], ["b", 2], ["c", 3], ["d", 4]], 1.0),
    ([["d", 4], ["b", 2], ["c", 3], ["a", 1]], 1.0),
    ([["a", 1], ["b", 2]], 0.5 * 0.5 + 0.5 * 0.5),
    ([["a", 4], ["b", 3], ["c", 2], ["d", 1]], 0.5),
    ([[1, "a"], [2, "b"], [3, "c"], [4, "d"]], 0.5),
    ([["a"], ["b"], ["c"], ["d"]], 0.25),
    ([["a", 1, 0], ["b", 2, 0], ["c", 3, 0], ["d", 4, 0]], 0.5 * 2 / 3),
    ([["x", 9]], 0.0),
    ([["a", 1], ["a", 1], ["b", 2], ["c", 3], ["d", 4]], 0.5 + 0.5 * 4 / 5),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "cell", "expected"), SCALARS)
def test_a_scalar_is_measured_by_its_distance_and_text_by_equality(
    gold: GoldAnswer, cell: Cell, expected: float
) -> None:
    assert progress(gold, result_of([[cell]])) == pytest.approx(expected)


@pytest.mark.parametrize(("gold", "cells", "expected"), LISTS)
def test_a_list_is_measured_by_its_overlap_over_the_union(gold: GoldAnswer, cells: list[Cell], expected: float) -> None:
    assert progress(gold, result_of([[cell] for cell in cells])) == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "expected"), TABLES)
def test_a_table_is_measured_half_by_columns_and_half_by_rows(rows: Rows, expected: float) -> None:
    assert progress(TABLE, result_of(rows)) == pytest.approx(expected)


@pytest.mark.parametrize("gold", [COUNT, MEAN, NAME, SET, TABLE])
def test_an_empty_or_a_cut_result_is_no_progress(gold: GoldAnswer) -> None:
    assert progress(gold, result_of([])) == 0.0
    assert progress(gold, result_of([], width=len(gold.rows()[0]))) == 0.0
    assert progress(gold, result_of(gold.rows(), truncated=True)) == 0.0


@pytest.mark.parametrize("gold", [COUNT, MEAN, NAME])
def test_a_scalar_among_others_is_no_progress(gold: GoldAnswer) -> None:
    truth = gold.gold_answer
    assert progress(gold, result_of([[truth, truth]])) == 0.0
    assert progress(gold, result_of([[truth], [truth]])) == 0.0


def test_a_list_in_two_columns_is_no_progress() -> None:
    assert progress(SET, result_of([[cell, cell] for cell in "abcd"])) == 0.0


ECHOES: list[tuple[GoldAnswer, Cell, str]] = [
    (COUNT, 100, "100"), (COUNT, 100, "-100"), (COUNT, 100, "100.0"), (COUNT, 99, "99"), (MEAN, 50.4, "50.4"),
    (COUNT, {"decimal": "100.00"}, "100"), (COUNT, 100, "1e2"), (gold_of("integer", -4), -4, "4"),
    (NAME, "Paris", "paris"), (NAME, "Paris", " PARIS."), (NAME, "paris.", "Paris"),
    (gold_of("string", {"date": "2024-01-31"}), {"date": "2024-01-31"}, "2024-01-31"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "cell", "literal"), ECHOES)
def test_a_value_that_the_query_brought_along_is_no_progress(gold: GoldAnswer, cell: Cell, literal: str) -> None:
    assert progress(gold, result_of([[cell]])) > 0.9
    assert progress(gold, result_of([[cell]], literal)) == 0.0


def test_constants_of_a_list_or_a_table_do_not_count() -> None:
    assert progress(SET, result_of([["a"], ["b"], ["c"]], "a", "b")) == pytest.approx(1 / 4)
    rows: Rows = [["a", 1], ["b", 2], ["c", 3], ["d", 4]]
    everything = ("a", "b", "c", "d", "1", "2", "3", "4")
    assert progress(TABLE, result_of(rows, *everything)) == 0.0
    assert progress(TABLE, result_of(rows, "a", "b", "c", "d")) == pytest.approx(0.5 * 0.5 + 0.5)


def test_rows_of_constants_do_not_count_because_one_more_cell_is_computed() -> None:
    guessed: Rows = [["a", 1], ["b", 2], ["c", 3], ["d", 4], ["x", 99]]
    literals = ("a", "b", "c", "d", "x", "1", "2", "3", "4", "98")
    assert progress(TABLE, result_of(guessed, *literals)) == 0.0
    padded = gold_of("table", [["a", None], ["b", None]])
    assert progress(padded, result_of([["a", None], ["b", None]], "a", "b")) == pytest.approx(0.25)


def test_a_row_found_by_a_constant_still_counts() -> None:
    gold = gold_of("table", [["Ann", "Sales"], ["Bob", "Sales"]])
    assert progress(gold, result_of([["Ann", "Sales"], ["Bob", "Sales"]], "Sales")) == pytest.approx(0.75)


@pytest.mark.parametrize("literal", ["e5", ".e5", "", ".", "nan", "1e999999999", "\x00", "9" * 5_000, "￥"])
def test_no_literal_raises(literal: str) -> None:
    for gold in (COUNT, NAME, SET, TABLE):
        assert progress(gold, result_of(gold.rows(), literal)) == 1.0


def test_a_large_table_is_measured_on_its_first_rows() -> None:
    rows: Rows = [[n, f"name {n}"] for n in range(TABLE_ROWS * 3)]
    assert progress(gold_of("table", [list(row) for row in rows]), result_of(rows)) == 1.0


CELLS: st.SearchStrategy[Cell] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**127), 2**127), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4), st.sampled_from([{"float": "nan"}, {"decimal": "1.50"}, {"date": "2024-01-31"}]),
)  # fmt: skip


@st.composite
def results(draw: st.DrawFn) -> Rows:
    width = draw(st.integers(1, 3))
    return draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5))


@given(results(), results(), st.lists(st.text(max_size=5) | st.integers(-5, 5).map(str), max_size=4))
@settings(max_examples=300, deadline=None)
def test_progress_is_within_zero_and_one(golds: Rows, rows: Rows, literals: list[str]) -> None:
    assert 0.0 <= progress(gold_of(*shape_answer(golds)), result_of(rows, *literals)) <= 1.0


@given(results(), st.data())
@settings(max_examples=200, deadline=None)
def test_the_golds_own_result_is_all_the_progress_there_is(rows: Rows, data: st.DataObject) -> None:
    assume(rows != [[None]])
    gold = gold_of(*shape_answer(rows))
    assert progress(gold, result_of(rows)) == pytest.approx(1.0)
    assert progress(gold, result_of(data.draw(st.permutations(rows)))) == pytest.approx(1.0)
    assert progress(gold, result_of(rows, truncated=True)) == 0.0
