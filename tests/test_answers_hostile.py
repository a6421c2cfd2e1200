"""Answers made to hang, starve or break the grader are refused, and soon."""

import json

import pytest

from services.grader.answers import is_correct
from services.grader.reading import MAX_CHARACTERS
from tests.test_answers import (
    AVERAGES,
    CITIES,
    FLOAT,
    INTEGER,
    MONEY,
    NOTHING,
    NUMBERS,
    ONE_CITY,
    ONE_ROW,
    RANKED,
    STRING,
    TABLE,
    WORDS,
    gold_of,
)

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
