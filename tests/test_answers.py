"""What the answer grader pays and what it never pays, by answer type (sqlenv-v1-spec §3.3, §4.2)."""

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
from services.grader.reading import MAX_CHARACTERS, normal_text


def gold_of(answer_type: AnswerType, answer: Cell, ordered: bool = False, tolerance: float = 0.01) -> GoldAnswer:
    return GoldAnswer(
        task_id="t", gold_sql="", gold_answer=answer, answer_type=answer_type, ordered=ordered, tolerance=tolerance
    )


INTEGER = gold_of("integer", 42)
NEGATIVE = gold_of("integer", -7)
THOUSANDS = gold_of("integer", 1234567)
FLOAT = gold_of("float", 3.5)
MONEY = gold_of("float", {"decimal": "1234.50"})
STRING = gold_of("string", "Paris")
DOTTED = gold_of("string", "Acme Inc.")
DATE = gold_of("string", {"date": "2024-01-31"})
NOTHING = gold_of("string", None)
CITIES = gold_of("list", ["Paris", "Rome", "New York"])
COMMAS = gold_of("list", ["Paris, Texas", 'The "Hub"', "a;b", "x|y"])
DASHES = gold_of("list", ["Ann - Bo", "Cy"])
CLUBS = gold_of("list", ["1. FC Köln", "Bayern"])
ONE_CITY = gold_of("list", ["Paris"])
NUMBERS = gold_of("list", [10, 20, 1500])
RANKED = gold_of("list", ["Rome", "Paris", "Rome"], ordered=True)
AVERAGES = gold_of("list", [1.5, 2.5, None])
HOLED = gold_of("list", ["Paris", None])
TABLE = gold_of("table", [["Ann", 2, 1.5], ["Bob", 1, None]])
TWINS = gold_of("table", [["Ann", 1], ["Ann", 1], ["Bob", 2]])
STEPS = gold_of("table", [["Ann", 1], ["Bob", 2]], ordered=True)
ONE_ROW = gold_of("table", [["Ann", 2]])
WORDS = gold_of("table", [["Ann", "Paris"], ["Bob", None]])
PIPES = gold_of("table", [["a|b", 1]])

ACCEPTED: list[tuple[GoldAnswer, str]] = [
    *[(INTEGER, t) for t in ("42", " 42 ", "42.0", "+42", "42.", "42.00", "4.2e1", "4200e-2", '"42"', "'42'", "`42`")],
    *[(INTEGER, t) for t in ("$42", "42 %", "42%", "€42", "42€", "42\n", "042", '"42".')],
    *[(NEGATIVE, t) for t in ("-7", "-7.0", "- 7", "-$7", "$-7", "-7%")],
    *[(THOUSANDS, t) for t in ("1234567", "1,234,567", "$1,234,567.00", "1.234567e6", "1,234,567.")],
    *[(FLOAT, t) for t in ("3.5", "3.50", "$3.50", "3.5 %", "3.5.", "3.53", "3.47", "35e-1", '"3.5"')],
    *[(MONEY, t) for t in ("1234.5", "1,234.50", "$1,234.50", "1234", "1240", "1.2345E3")],
    *[(STRING, t) for t in ("Paris", "paris", " PARIS ", "Paris.", '"Paris"', "'paris'", "“Paris”", "Paris\n")],
    *[(DOTTED, t) for t in ("Acme Inc.", "acme inc", '"Acme Inc."')],
    *[(DATE, t) for t in ("2024-01-31", "2024-01-31.", '"2024-01-31"')],
    *[(NOTHING, t) for t in ("NULL", "null")],
    (CITIES, '["Paris", "Rome", "New York"]'),
    (CITIES, "['Paris', 'Rome', 'New York']"),
    (CITIES, "('Paris', 'Rome', 'New York')"),
    (CITIES, "new york, PARIS, Rome"),
    (CITIES, "Rome; Paris; New York"),
    (CITIES, "Rome\nParis\nNew York\n"),
    (CITIES, "- Rome\n- Paris\n- New York"),
    (CITIES, "1. Rome\n2. Paris\n3) New York"),
    (CITIES, "  * Rome\n\n  • Paris\n  * New York"),
    (CITIES, '[["Rome"], ["Paris"], ["New York"]]'),
    (CITIES, '"Rome", "Paris", "New York"'),
    (CITIES, "[Paris, Rome, New York]"),
    (CITIES, '["Paris", "Rome", "New York", "Rome"]'),
    (COMMAS, json.dumps(["Paris, Texas", 'The "Hub"', "a;b", "x|y"])),
    (COMMAS, 'Paris, Texas\nThe "Hub"\na;b\nx|y'),
    (DASHES, "Ann - Bo\nCy"),
    (CLUBS, "1. FC Köln\nBayern"),
    (ONE_CITY, "Paris"),
    (ONE_CITY, '["paris."]'),
    (NUMBERS, "[10, 20, 1500]"),
    (NUMBERS, "1500, 20.0, 10"),
    (NUMBERS, '["10", "20", "1,500"]'),
    (NUMBERS, "10; 20; 1,500"),
    (NUMBERS, "$10\n$20\n$1,500"),
    (RANKED, "Rome, Paris, Rome"),
    (RANKED, '["rome", "paris", "rome"]'),
    (AVERAGES, "[2.51, 1.49, null]"),
    (AVERAGES, "1.5, NULL, 2.5"),
    (AVERAGES, "[1.5, NULL, 2.5]"),
    (AVERAGES, "(1.5, None, 2.5)"),
    (HOLED, '["Paris", null]'),
    (HOLED, "Paris, NULL"),
    (TABLE, '[["Ann", 2, 1.5], ["Bob", 1, null]]'),
    (TABLE, '[["bob", 1, null], ["ann", 2, 1.51]]'),
    (TABLE, "[('Ann', 2, 1.5), ('Bob', 1, None)]"),
    (TABLE, '[{"name": "Ann", "n": 2, "avg": 1.5}, {"name": "Bob", "n": 1, "avg": null}]'),
    (TABLE, "Ann,2,1.5\nBob,1,NULL"),
    (TABLE, "name,n,average\nAnn,2,1.5\nBob,1,NULL"),
    (TABLE, "name, n, average\r\nBob, 1,\r\nAnn, 2, 1.50\r\n"),
    (TABLE, "| name | n | avg |\n|---|---:|:-:|\n| Ann | 2 | 1.5 |\n| Bob | 1 | NULL |"),
    (TABLE, "name | n | avg\n--- | --- | ---\nAnn | 2 | 1.5\nBob | 1 | NULL"),
    (TABLE, "| name | n | avg |\n| Ann | 2 | 1.5 |\n| Bob | 1 | NULL |"),
    (TABLE, "| Ann | 2 | 1.5 |\n| Bob | 1 | |"),
    (TWINS, "Ann,1\nBob,2\nAnn,1"),
    (STEPS, "Ann,1\nBob,2"),
    (ONE_ROW, '["Ann", 2]'),
    (ONE_ROW, "Ann, 2"),
    (ONE_ROW, "Ann\n2"),
    (ONE_ROW, "name,n\nAnn,2"),
    (WORDS, "Ann,Paris\nBob,NULL"),
    (WORDS, "| name | city |\n|---|---|\n| Bob | NULL |\n| Ann | Paris |"),
    (PIPES, "| t | n |\n|-|-|\n| a\\|b | 1 |"),
    (PIPES, '[["a|b", 1]]'),
    (gold_of("table", [["two\nlines", 1], ["x", 2]]), '"two\nlines",1\nx,2'),
]  # fmt: skip

REFUSED: list[tuple[GoldAnswer, str]] = [
    *[(INTEGER, t) for t in ("41", "43", "42.1", "42.0000001", "-42", "4 2", "42 43", "42, 43", "[42]", "42 rows")],
    *[(INTEGER, t) for t in ("0x2a", "forty-two", "4,2", "42,", "1e1", "42e", "e42", "NULL", "the answer is 42")],
    *[(INTEGER, t) for t in ("４２", "٤٢", "42\x00", "4_2", "42/1", "41+1", '{"decimal": "42"}', "..", "$", "%", "+")],
    *[(gold_of("integer", 1), t) for t in ("true", "True", "[true]", "yes", "1e", "e1", "1e99999", "")],
    *[(gold_of("integer", 0), t) for t in ("false", "False", "0.001", "", "null", "none", "e0", ".e0", "-", ".")],
    *[(FLOAT, t) for t in ("3.54", "3.46", "-3.5", "nan", "NaN", "inf", "-inf", "Infinity", "3.5 or 3.6", "[3.5]")],
    *[(FLOAT, t) for t in ("3.5, 3.6", "3,5", "1e9999", "1e999999999", "3.5e", "e5", ".e5", "true", "3.5..6")],
    *[(gold_of("float", 0.0), t) for t in ("0.0001", "1e-300", "nan", "false", "")],
    *[(STRING, t) for t in ("Rome", "Paris Rome", "Paris, Rome", '["Paris"]', "Par", "Paris!", "It is Paris", "NULL")],
    *[(STRING, t) for t in ("Paris\nRome", "Paris or Rome", "Paris|Rome", "''", "Paris\x00", "\ud800")],
    *[(DATE, t) for t in ("2024-01-30", "2024", "2024-01-31 or 2024-02-01")],
    *[(gold_of("string", s), t) for s in ("", ".", "''", " ") for t in ("", " ", "\n", '""', "''", ".", '"."')],
    (CITIES, '["Paris", "Rome"]'),
    (CITIES, '["Paris", "Rome", "New York", "Oslo"]'),
    (CITIES, "Paris, Rome, New York and Oslo"),
    (CITIES, "Paris, Rome"),
    (CITIES, '[["Paris", "Rome", "New York"]]'),
    (CITIES, "[]"),
    (CITIES, "The cities are: Paris, Rome, New York"),
    (gold_of("list", ["AnnBo", "Cy"]), "Ann - Bo\nCy"),
    (ONE_CITY, '["Paris", "Rome"]'),
    (ONE_CITY, "Paris\nRome"),
    (ONE_CITY, '["Paris", null]'),
    (gold_of("list", [234234]), "234,234"),
    (NUMBERS, "[10, 20, 1501]"),
    (NUMBERS, "[10, 20, 1500, true]"),
    (gold_of("list", [1, 0]), "[true, false]"),
    (gold_of("list", [1.0, 0.5]), "[true, 0.5]"),
    (AVERAGES, "[2.5, 1.5]"),
    (AVERAGES, "[2.5, 1.5, NaN]"),
    (AVERAGES, "[2.5, 1.5, null, NaN]"),
    (AVERAGES, "2.5, 1.5, nan"),
    (AVERAGES, "[2.54, 1.5, null]"),
    (AVERAGES, "[2.5, 1.5, null, 1e999]"),
    (AVERAGES, '[{"decimal": "NaN"}, 2.5, null]'),
    (RANKED, "Rome, Rome, Paris"),
    (RANKED, "Rome, Paris"),
    (RANKED, "Rome, Paris, Rome, Rome"),
    (HOLED, '["Paris"]'),
    (HOLED, '["Paris", ""]'),
    (TABLE, '[["Ann", 2, 1.5]]'),
    (TABLE, '[["Ann", 2], ["Bob", 1]]'),
    (TABLE, '[["Ann", 1, 1.5], ["Bob", 2, null]]'),
    (TABLE, '[[2, "Ann", 1.5], [1, "Bob", null]]'),
    (TABLE, '[["Ann", 2, 1.5], ["Bob", 1, null], ["Cy", 1, 1]]'),
    (TABLE, '[["Ann", 2, 1.5], ["Bob", 1, NaN]]'),
    (TABLE, '[["Ann", 2.01, 1.5], ["Bob", 1, null]]'),
    (TABLE, '[["name", "n", "avg"], ["Ann", 2, 1.5], ["Bob", 1, null]]'),
    (TABLE, "Cy,3,1.0\nAnn,2,1.5\nBob,1,NULL"),
    (TABLE, "name,n,avg\nname,n,avg\nAnn,2,1.5\nBob,1,NULL"),
    (TABLE, "| Cy | 3 | 1 |\n| Ann | 2 | 1.5 |\n| Bob | 1 | NULL |"),
    (TWINS, "Ann,1\nBob,2"),
    (TWINS, "Ann,1\nBob,2\nBob,2"),
    (STEPS, "Bob,2\nAnn,1"),
    (ONE_ROW, "Bob,1\nAnn,2"),
    (ONE_ROW, '[["Bob", 1], ["Ann", 2]]'),
    (ONE_ROW, '["Ann", true]'),
    (WORDS, "Cy,Oslo\nAnn,Paris\nBob,NULL"),
    (WORDS, "Ann,Paris\nBob,"),
]  # fmt: skip


def case_id(case: object) -> str:
    return f"{case.answer_type}-{case.gold_answer}"[:30] if isinstance(case, GoldAnswer) else repr(case)[:50]


@pytest.mark.parametrize(("gold", "answer"), ACCEPTED, ids=case_id)
def test_a_right_answer_scores_however_it_is_written(gold: GoldAnswer, answer: str) -> None:
    assert is_correct(gold, answer)


@pytest.mark.parametrize(("gold", "answer"), REFUSED, ids=case_id)
def test_what_is_not_the_answer_never_scores(gold: GoldAnswer, answer: str) -> None:
    assert not is_correct(gold, answer)


def test_a_row_and_a_header_cannot_be_two_guesses() -> None:
    """Without column names only a row with text in a number column is a header; a Markdown rule makes one too."""
    both, last = gold_of("table", [["a", "b"], ["c", "d"]]), gold_of("table", [["c", "d"]])
    for text in ("a,b\nc,d", "|a|b|\n|c|d|", "|a|b|\n|-|-|\n|c|d|", "x|y\n-|-\na|b\nc|d"):
        assert is_correct(both, text) + is_correct(last, text) == 1


NUMBER_LIKE = ("1,234", "234,234", "1,1", "1;1", "[1, 1]", "5,005", "1,000,001")


@pytest.mark.parametrize("text", NUMBER_LIKE)
def test_a_comma_parts_the_elements_of_a_list_whatever_the_gold(text: str) -> None:
    joined = text.strip("[]").replace(",", "").replace(";", "").replace(" ", "")
    assert not is_correct(gold_of("list", [int(joined)]), text)


GOLDS = [
    INTEGER, FLOAT, MONEY, STRING, NOTHING, CITIES, ONE_CITY, NUMBERS, AVERAGES, RANKED, TABLE, ONE_ROW, WORDS,
    gold_of("list", [n + 0.5 for n in range(30_000)]),
    gold_of("table", [[f"name {n % 7}", n + 0.5, n * 1.5] for n in range(2_000)]),
    gold_of("table", [[1.5, 2.5, "x"] for _ in range(2_000)]),
]  # fmt: skip

HOSTILE = {
    "an exponent alone": "e5",
    "a fraction's exponent alone": ".e5",
    "a huge exponent": "1e999999999",
    "a long number": "1" * MAX_CHARACTERS,
    "a long fraction": "0." + "1" * (MAX_CHARACTERS - 2),
    "thousands": "1" + ",111" * 400_000,
    "two million spaces": "a\nb" + " " * 1_900_000 + "c",
    "beyond the limit": "[" + "1," * MAX_CHARACTERS + "1]",
    "a million elements": "[" + "1," * 999_990 + "1]",
    "a hundred thousand numbers": json.dumps([n + 0.25 for n in range(100_000)]),
    "a million lines": "1\n" * 999_999,
    "a million commas": "1," * 999_999,
    "a million pipes": "|\n" * 999_999,
    "a line of pipes": "|" * MAX_CHARACTERS,
    "dashes": "|a\n" + "|-" * 900_000 + "x",
    "quotes": '"' * 1_999_999,
    "empty lists": "[" + "[]," * 600_000 + "[]]",
    "combining marks": "\u0301\u0316" * 900_000,
    "combining marks in a list": json.dumps(["\u0301\u0316" * 450] * 400),
    "nested in a million brackets": "[" * 1_000_000 + "]" * 1_000_000,
    "nested in 900 brackets": "[" * 900 + "]" * 900,
    "nested in 450 brackets": "[" * 450 + "1" + "]" * 450,
    "nested objects": '[{"a":' * 450 + "1" + "}]" * 450,
    "brackets left open": "[" * 199,
    "parentheses left open": "[" + "(" * 5_000,
    "Python operators": "[" + "-" * 90_000 + "1]",
    "a Python sum": "[" + "1+" * 45_000 + "1]",
    "a Python call": "[f" + "()" * 45_000 + "]",
    "Python lambdas": "[" + "lambda x:" * 9_000 + "1]",
    "a long hexadecimal": "[0x" + "f" * 90_000 + "]",
    "a long JSON integer": "[" + "9" * 10_000 + "]",
    "a Python expression": "[().__class__.__base__.__subclasses__()]",
    "a NUL": "[\x00]",
    "a NUL in text": "Pa\x00ris",
    "a surrogate": "\ud800",
    "an escaped surrogate": '["\\ud800", "\\udfff"]',
    "a signalling NaN": '[{"decimal": "sNaN"}]',
    "a decimal NaN": '[[{"decimal": "NaN"}, {"decimal": "Infinity"}, {"decimal": "1e999999999"}]]',
    "JSON infinities": "[[Infinity, -Infinity, NaN]]",
    "foreign digits": "٤٢",
    "a superscript": "4²",
    "a bullet alone": "-\n-",
    "a pipe alone": "|",
    "a rule alone": "|---|\n|---|",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_and_soon(name: str) -> None:
    """Every one takes under a second or so; those that took hours, or raised, were bugs."""
    assert [gold.answer_type for gold in GOLDS if is_correct(gold, HOSTILE[name])] == []


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
