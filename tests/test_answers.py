"""What the answer grader pays and what it never pays, by answer type (sqlenv-v1-spec §3.3, §4.2)."""

import json

import pytest

from services.contracts.statements import Cell
from services.grader.answers import is_correct
from services.grader.gold import AnswerType, GoldAnswer


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
