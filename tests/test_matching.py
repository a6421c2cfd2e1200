"""The laws of bag, set and sequence equality, against counters and a brute-force matcher."""

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.contracts.cells import cell_number, cell_text
from services.contracts.statements import Cell, Rows
from services.grader.matching import (
    DENSE_ROWS,
    Value,
    close,
    column_kinds,
    equal_bags,
    equal_sequences,
    equal_sets,
    gold_value,
    submitted_value,
)
from services.grader.results import same_result

Row = tuple[Value, ...]
EXACT = [0.0, 0.0]
LOOSE = [0.0, 0.1, 0.1]
VALUES = st.one_of(st.none(), st.sampled_from(["a", "b", "1"]), st.integers(-2, 2).map(Decimal))
PAIRS = st.lists(st.tuples(VALUES, VALUES), max_size=6)
NEAR = st.one_of(st.none(), st.sampled_from(["1", "1.05", "1.1", "1.15", "-1", "-1.1", "0", "100", "109"]).map(Decimal))
TRIPLES = st.lists(st.tuples(st.sampled_from(["a", "b"]), NEAR, NEAR), max_size=5)


def fits(row: Sequence[Value], gold: Sequence[Value], tolerances: Sequence[float]) -> bool:
    """One row against one of the gold, by the definition."""
    for value, truth, tolerance in zip(row, gold, tolerances, strict=True):
        if tolerance and isinstance(value, Decimal) and isinstance(truth, Decimal):
            if abs(float(value) - float(truth)) > tolerance * abs(float(truth)):
                return False
        elif value != truth:
            return False
    return True


def matched_by_force(rows: Sequence[Row], golds: Sequence[Row], tolerances: Sequence[float]) -> bool:
    """Whether some order of the rows fits the gold."""
    return len(rows) == len(golds) and any(
        all(fits(row, gold, tolerances) for row, gold in zip(order, golds, strict=True)) for order in permutations(rows)
    )


@given(PAIRS, PAIRS)
def test_exact_bags_are_counters(mine: list[Row], theirs: list[Row]) -> None:
    assert equal_bags(mine, theirs, EXACT) is (Counter(mine) == Counter(theirs))


@given(PAIRS, PAIRS)
def test_exact_sequences_are_lists(mine: list[Row], theirs: list[Row]) -> None:
    assert equal_sequences(mine, theirs, EXACT) is (mine == theirs)


@given(st.lists(VALUES, max_size=6), st.lists(VALUES, max_size=6))
def test_exact_sets_are_sets(mine: list[Value], theirs: list[Value]) -> None:
    assert equal_sets(mine, theirs, "text", 0.1) is (set(mine) == set(theirs))
    assert equal_sets(mine, theirs, "float", 0.0) is (set(mine) == set(theirs))


@given(PAIRS, PAIRS)
def test_exact_equality_is_symmetric(mine: list[Row], theirs: list[Row]) -> None:
    for equal in (equal_bags, equal_sequences):
        assert equal(mine, theirs, EXACT) is equal(theirs, mine, EXACT)


@given(TRIPLES)
def test_equality_is_reflexive(rows: list[Row]) -> None:
    assert equal_bags(rows, rows, LOOSE)
    assert equal_sequences(rows, rows, LOOSE)
    assert equal_sets([row[1] for row in rows], [row[1] for row in rows], "float", 0.1)


@given(TRIPLES, TRIPLES, st.data())
def test_bags_and_sets_do_not_heed_order(mine: list[Row], theirs: list[Row], data: st.DataObject) -> None:
    mixed, other = data.draw(st.permutations(mine)), data.draw(st.permutations(theirs))
    assert equal_bags(mixed, mine, LOOSE)
    assert equal_bags(mixed, other, LOOSE) is equal_bags(mine, theirs, LOOSE)
    sets = [equal_sets([r[1] for r in a], [r[1] for r in b], "float", 0.1) for a, b in ((mine, theirs), (mixed, other))]
    assert sets[0] is sets[1]


@given(TRIPLES, st.data())
@settings(max_examples=300, deadline=None)
def test_loose_bags_agree_with_brute_force(theirs: list[Row], data: st.DataObject) -> None:
    """Rows that are the gold's up to shifts near the tolerance, so that matching one to one is the question."""
    shift = st.sampled_from([Decimal(1), Decimal("0.95"), Decimal("1.05"), Decimal("1.09"), Decimal("1.2")])
    mine = [
        tuple(v * data.draw(shift) if isinstance(v, Decimal) else v for v in row)
        for row in data.draw(st.permutations(theirs))
    ]
    for tolerances in (LOOSE, [0.0, 0.1, 0.0], [0.0, 0.2, 0.05]):
        assert equal_bags(mine, theirs, tolerances) is matched_by_force(mine, theirs, tolerances)


@given(TRIPLES, TRIPLES)
@settings(max_examples=200, deadline=None)
def test_unrelated_loose_bags_agree_with_brute_force(mine: list[Row], theirs: list[Row]) -> None:
    assert equal_bags(mine, theirs, LOOSE) is matched_by_force(mine, theirs, LOOSE)


NUMBERS = st.lists(NEAR, max_size=6)


@given(NUMBERS, NUMBERS)
@example([Decimal("-1.1"), Decimal(1)], [Decimal("-1.1"), Decimal(-1), Decimal(1)])
def test_loose_sets_cover_each_other(mine: list[Value], theirs: list[Value]) -> None:
    covered = all(any(fits([v], [g], [0.1]) for g in theirs) for v in mine)
    held = all(any(fits([v], [g], [0.1]) for v in mine) for g in theirs)
    assert equal_sets(mine, theirs, "float", 0.1) is (covered and held)


def test_a_greedy_pairing_would_fail_where_a_matching_exists() -> None:
    golds: list[Row] = [(Decimal(100), Decimal(100)), (Decimal(105), Decimal(105))]
    mine: list[Row] = [(Decimal("104"), Decimal("96")), (Decimal("103"), Decimal("108"))]
    assert equal_bags(mine, golds, [0.05, 0.05])


def test_one_row_cannot_stand_for_two() -> None:
    golds: list[Row] = [(Decimal(100),), (Decimal(200),)]
    assert not equal_bags([(Decimal(100),), (Decimal(100),)], golds, [0.01])


def test_a_tolerance_is_relative_to_the_gold_and_not_to_the_guess() -> None:
    assert close(Decimal(101), Decimal(100), 0.01)
    assert not close(Decimal("98.9"), Decimal(100), 0.01)
    assert close(Decimal(0), Decimal(0), 0.01)
    assert not close(Decimal("1e-12"), Decimal(0), 0.01)
    assert close(Decimal("-99.5"), Decimal(-100), 0.01)
    assert not close(Decimal("Infinity"), Decimal(100), 0.01)
    assert not close(Decimal("1e9999"), Decimal(100), 0.01)


@pytest.mark.parametrize("count", [DENSE_ROWS, DENSE_ROWS + 1])
def test_a_large_bag_equals_itself_in_any_order(count: int) -> None:
    rows: list[Row] = [("x", Decimal(n % 97), Decimal(n)) for n in range(count)]
    assert equal_bags(rows[::-1], rows, LOOSE)
    assert not equal_bags([*rows[1:], ("x", Decimal(500), Decimal(500))], rows, [0.0, 0.01, 0.01])


def test_a_null_equals_nothing_but_a_null() -> None:
    for tolerance in (0.0, 0.01):
        for other in (Decimal(0), "", "0"):
            assert not equal_bags([[None]], [[other]], [tolerance])
            assert not equal_sequences([[None]], [[other]], [tolerance])
            assert not equal_sets([None], [other], "float", tolerance)


KINDS = [
    ([1, 2], "integer"), ([1, None], "integer"), ([1, 2.0], "float"), ([{"decimal": "1.5"}, None], "float"),
    (["1", "2"], "text"), ([1, "2"], "text"), ([None, None], "text"), ([True, False], "text"), ([1, True], "text"),
    ([{"float": "nan"}, 1.5], "text"), ([{"decimal": "NaN"}], "text"), ([{"date": "2024-01-31"}], "text"),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "kind"), KINDS)
def test_a_number_column_has_numbers_and_nulls_only(cells: list[Cell], kind: str) -> None:
    assert column_kinds([[cell] for cell in cells]) == [kind]


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "", "x"])
def test_a_decimal_that_is_not_finite_is_no_number(text: str) -> None:
    assert cell_number({"decimal": text}) is None


CELLS: list[tuple[Cell, str]] = [
    (None, "NULL"), (True, "true"), (0.1, "0.1"), (5, "5"), ({"decimal": "1.50"}, "1.50"), ({"blob": "ff"}, "0xff"),
    ({"date": "2024-01-31"}, "2024-01-31"), ([1, None, "a"], "[1, NULL, a]"), ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "text"), CELLS)
def test_a_cell_has_one_text(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text


SPELLINGS: list[tuple[Cell, Value]] = [
    ("1,234", Decimal(1234)), ("$5", Decimal(5)), (True, "true"), ("true", "true"), ("NULL", None), ("", None),
    ("none", None), ("nan", "nan"), (float("nan"), "nan"), ("N/A", None), ("e5", "e5"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "value"), SPELLINGS)
def test_text_in_a_number_column_may_hold_a_number_or_spell_null(cell: Cell, value: Value) -> None:
    assert submitted_value(cell, "float") == value


def test_null_and_its_name_are_one_in_a_text_column() -> None:
    assert submitted_value("NULL", "text") is gold_value(None, "text") is gold_value("null", "text") is None
    assert submitted_value("", "text") == gold_value("", "text") == ""


def both_ways(rows: Rows, golds: Rows, ordered: bool = False) -> bool:
    verdicts = {same_result(rows, golds, ordered), same_result(golds, rows, ordered)}
    assert len(verdicts) == 1
    return verdicts.pop()


SAME: list[tuple[Rows, Rows]] = [
    ([], []), ([[1]], [[1.0]]), ([[1]], [[{"decimal": "1.00"}]]), ([[0.1 + 0.2]], [[0.3]]), ([[None]], [[None]]),
    ([["a", 1], ["b", 2]], [["b", 2], ["a", 1]]), ([["é"]], [["é"]]), ([[1e300]], [[1e300]]), ([["1"]], [[1]]),
]  # fmt: skip
DIFFERENT: list[tuple[Rows, Rows]] = [
    ([[1]], []), ([[1]], [[2]]), ([[1]], [[1, 1]]), ([["a"]], [["A"]]), ([["a"]], [["a "]]), ([["a"]], [["a."]]),
    ([[None]], [[0]]), ([[None]], [["NULL"]]), ([["01"]], [[1]]), ([["1.0"]], [[1]]),
    ([[1.0]], [[1.00001]]), ([[0]], [[1e-12]]),
    ([[10**9 + 1]], [[10**9]]), ([[2**60 + 1], [None]], [[2**60], [None]]), ([["a"], ["a"]], [["a"], ["b"]]),
    ([[1], [1], [2]], [[1], [2], [2]]),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "golds"), SAME)
def test_engines_agree_up_to_float_rounding(rows: Rows, golds: Rows) -> None:
    assert both_ways(rows, golds)


@pytest.mark.parametrize(("rows", "golds"), DIFFERENT)
def test_engines_disagree_on_any_other_difference(rows: Rows, golds: Rows) -> None:
    assert not both_ways(rows, golds)
    assert not both_ways(rows, golds, ordered=True)


def test_the_order_of_a_result_counts_only_where_it_is_ordered() -> None:
    compare: Callable[[bool], bool] = lambda ordered: both_ways([[1], [2]], [[2], [1]], ordered)  # noqa: E731
    assert compare(False)
    assert not compare(True)
