"""What holds for every gold and answer: the gold itself scores, a neighbour of it does not, and nothing raises."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.contracts.cells import cell_number
from services.contracts.statements import Cell
from services.grader.answers import is_correct, submission
from services.grader.gold import AnswerType, GoldAnswer, read_gold, shape_answer
from services.grader.reading import normal_text
from tests.test_answers import AVERAGES, FLOAT, INTEGER, STRING, TABLE, gold_of

LETTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(st.text(LETTERS, max_size=12), st.text("aB,;|\"'\n\r\\ .-*1%$", max_size=8), st.just("NULL"))
DATES = st.dates().map(lambda day: {"date": day.isoformat()})
DECIMALS = st.decimals(-(10**12), 10**12, places=2).map(lambda number: {"decimal": str(number)})
INTEGERS = st.integers(-(2**127), 2**127)
REALS = st.floats(allow_nan=False, allow_infinity=False)
NON_FINITE = st.sampled_from(["nan", "inf", "-inf"]).map(lambda text: {"float": text})
CELLS: st.SearchStrategy[Cell] = st.one_of(
    st.none(), st.booleans(), INTEGERS, REALS, TEXTS, DATES, DECIMALS, NON_FINITE, st.just({"blob": "ff00"})
)
KINDS: list[st.SearchStrategy[Any]] = [
    INTEGERS, REALS, TEXTS, DATES, DECIMALS, st.none() | INTEGERS, st.none() | REALS, st.none() | TEXTS, CELLS,
]  # fmt: skip


@st.composite
def golds_of_rows(draw: st.DrawFn) -> GoldAnswer:
    """A gold as a query's result makes it: columns of one kind each."""
    columns = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    rows = draw(st.lists(st.tuples(*columns).map(list), min_size=1, max_size=6))
    answer_type, answer = shape_answer(rows)
    return gold_of(answer_type, answer, draw(st.booleans()))


@given(golds_of_rows())
@settings(max_examples=400, deadline=None)
def test_the_gold_submitted_scores(gold: GoldAnswer) -> None:
    """All but a single text of nothing but quotes, spaces and a full stop: to submit it would be to submit nothing."""
    text = submission(gold.gold_answer)
    nothing = gold.answer_type == "string" and normal_text(text) == ""
    assert is_correct(gold, text) is not nothing


@given(golds_of_rows())
@settings(max_examples=100, deadline=None)
def test_a_gold_survives_its_file(tmp_path_factory: pytest.TempPathFactory, gold: GoldAnswer) -> None:
    path = tmp_path_factory.getbasetemp() / "gold.jsonl"
    path.write_text(gold.model_dump_json() + "\n", encoding="utf-8", newline="\n")
    assert read_gold(path) == {"t": gold}


def test_a_gold_with_a_line_separator_in_its_text_can_be_read(tmp_path: Path) -> None:
    gold = gold_of("list", ["a\u2028b", "c\x85d"])
    path = tmp_path / "gold.jsonl"
    path.write_text(gold.model_dump_json() + "\n", encoding="utf-8")
    assert read_gold(path)["t"] == gold


@pytest.mark.parametrize(("answer_type", "answer"), [("list", []), ("table", []), ("table", [[]]), ("list", "a"),
                                                     ("table", [["a", 1], ["b"]]), ("table", None)])  # fmt: skip
def test_a_gold_without_rows_cannot_be_written_down(answer_type: AnswerType, answer: Cell) -> None:
    with pytest.raises(ValidationError):
        gold_of(answer_type, answer)


@given(st.text(), golds_of_rows())
@settings(max_examples=300, deadline=None)
def test_no_text_raises(text: str, gold: GoldAnswer) -> None:
    is_correct(gold, text)
    is_correct(gold, "[" + text)


@given(st.text("[](){},:;|\"'\n 10e.-+*NULLnulltrue\\ud8", max_size=40))
@settings(max_examples=400, deadline=None)
def test_no_text_of_brackets_and_numbers_raises(text: str) -> None:
    for gold in (INTEGER, FLOAT, STRING, AVERAGES, TABLE):
        is_correct(gold, text)


@given(INTEGERS, INTEGERS)
def test_another_integer_never_scores(truth: int, guess: int) -> None:
    assert is_correct(gold_of("integer", truth), str(guess)) is (truth == guess)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300), st.floats(-0.5, 0.5), TEXTS)
def test_a_float_scores_within_one_percent_of_its_magnitude(truth: float, share: float, junk: str) -> None:
    assume(abs(abs(share) - 0.01) > 1e-6 and (truth == 0 or abs(truth) > 1e-290))
    gold = gold_of("float", truth)
    assert is_correct(gold, repr(truth * (1 + share))) is (abs(share) < 0.01 or truth == 0)
    assert not is_correct(gold, f"{truth!r} {truth!r}{junk}")


@given(TEXTS, TEXTS)
def test_another_text_never_scores(truth: str, guess: str) -> None:
    assume(normal_text(truth) != normal_text(guess))
    assert not is_correct(gold_of("string", truth), guess)


NAMES = st.lists(st.text("abcdefg ,", min_size=1, max_size=5).map(lambda s: s + "z"), min_size=2, max_size=6)


@given(NAMES, st.data())
def test_a_list_is_a_set_unless_ordered(names: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(names))
    doubled = [*shuffled, data.draw(st.sampled_from(names))]
    loose, strict = gold_of("list", [*names]), gold_of("list", [*names], ordered=True)
    assert is_correct(loose, json.dumps(shuffled))
    assert is_correct(loose, json.dumps(doubled))
    same = list(map(normal_text, shuffled)) == list(map(normal_text, names))
    assert is_correct(strict, json.dumps(shuffled)) is same
    assert not is_correct(strict, json.dumps(doubled))


@given(NAMES, st.data())
def test_an_element_more_or_less_never_scores(names: list[str], data: st.DataObject) -> None:
    dropped = data.draw(st.sampled_from(names))
    fewer = [name for name in names if normal_text(name) != normal_text(dropped)]
    for ordered in (False, True):
        gold = gold_of("list", [*names], ordered)
        assert not is_correct(gold, json.dumps(fewer))
        assert not is_correct(gold, json.dumps([*names, "another"]))
        assert not is_correct(gold, json.dumps([*names, None]))


ROWS = st.lists(
    st.tuples(st.sampled_from(["ann", "bo", "cy"]), st.integers(-9, 9), st.sampled_from([None, 0.5, 100.0])),
    min_size=2, max_size=7,
)  # fmt: skip


def exact(rows: list[tuple[Cell, ...]]) -> str:
    return json.dumps([list(row) for row in rows])


@given(ROWS, st.data())
def test_a_table_is_a_bag_of_rows_unless_ordered(rows: list[tuple[Cell, ...]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    answer: Cell = [list(row) for row in rows]
    assert is_correct(gold_of("table", answer), exact(shuffled))
    assert is_correct(gold_of("table", answer, ordered=True), exact(shuffled)) is (shuffled == rows)


@given(ROWS, st.data())
def test_a_changed_table_never_scores(rows: list[tuple[Cell, ...]], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    name, number, real = rows[at]
    changed: list[tuple[Cell, ...]] = [
        (f"{name}x", number, real), (name, cell_number(number) is not None and number + 1, real),  # type: ignore[operator]
        (name, number, 7.0), (name, number, True), (name, number), (name, number, real, 1), (None, number, real),
    ]  # fmt: skip
    mutants = [[*rows[:at], row, *rows[at + 1 :]] for row in changed]
    mutants += [[*rows[:at], *rows[at + 1 :]], [*rows, rows[at]], [(n, name, r) for name, n, r in rows]]
    for ordered in (False, True):
        gold = gold_of("table", [list(row) for row in rows], ordered)
        assert [mutant for mutant in mutants if is_correct(gold, exact(mutant))] == []


def test_decimals_beyond_a_float_are_told_apart_where_they_are_integers() -> None:
    large = 2**100
    assert not is_correct(gold_of("integer", large), str(large + 1))
    assert is_correct(gold_of("integer", large), f"{large:,}")
    assert not is_correct(gold_of("list", [large, 1]), json.dumps([large + 1, 1]))
    assert Decimal(large) == cell_number(large)
