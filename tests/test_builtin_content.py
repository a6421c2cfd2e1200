"""The built-in databases and questions, each gold run on a real DuckDB for seeds 0 to 4."""

import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache

import duckdb
import pytest

from cluster.tasksets.builtin import build_domains
from cluster.tasksets.builtin.domain import Domain, QuestionSpec, TableData

Rows = list[tuple[object, ...]]

SEEDS = range(5)
NAMES = ("retail", "hospital", "airline", "library", "music", "energy")
every_domain = pytest.mark.parametrize(("seed", "name"), [(seed, name) for seed in SEEDS for name in NAMES])
FOLDING_CALL = re.compile(r"LOWER\(|TRIM\(")


@cache
def domain_of(seed: int, name: str) -> Domain:
    return next(domain for domain in build_domains(seed) if domain.name == name)


def loaded(domain: Domain, threads: int = 1) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": threads})
    for table in domain.tables:
        columns = ", ".join(f"{column} {kind}" for column, kind in table.columns)
        key = f", PRIMARY KEY ({', '.join(table.primary_key)})" if table.primary_key else ""
        connection.execute(f"CREATE TABLE {table.name} ({columns}{key})")
        row = f"({', '.join('?' * len(table.columns))})"
        values = [value for row_values in table.rows for value in row_values]
        connection.execute(f"INSERT INTO {table.name} VALUES {', '.join([row] * len(table.rows))}", values)
    return connection


def shuffled(domain: Domain, rng: random.Random) -> Domain:
    tables = (replace(table, rows=tuple(rng.sample(table.rows, len(table.rows)))) for table in domain.tables)
    return replace(domain, tables=tuple(tables))


def answers(domain: Domain, threads: int = 1) -> Iterator[tuple[QuestionSpec, Rows]]:
    with loaded(domain, threads) as connection:
        for question in domain.questions:
            yield question, connection.execute(question.gold_sql).fetchall()


def same_rows(left: Rows, right: Rows, ordered: bool) -> bool:
    if not ordered:
        left, right = sorted(left, key=repr), sorted(right, key=repr)
    return len(left) == len(right) and all(map(same_row, left, right))


def same_row(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    return len(left) == len(right) and all(map(same_value, left, right))


def same_value(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9)
    return left == right


def number(rows: Rows) -> float:
    return float(str(rows[0][0]))


def column_values(table: TableData, column: str) -> list[object]:
    position = [name for name, _ in table.columns].index(column)
    return [row[position] for row in table.rows]


def texts(table: TableData) -> Iterator[set[str]]:
    for column, kind in table.columns:
        if kind == "VARCHAR":
            yield {value for value in column_values(table, column) if isinstance(value, str)}


def test_the_same_seed_gives_the_same_content_and_another_seed_other_rows() -> None:
    assert build_domains(7) == build_domains(7)
    for one, other in zip(build_domains(7), build_domains(8), strict=True):
        assert one.tables != other.tables


def test_there_are_a_hundred_questions_in_the_promised_proportions() -> None:
    domains = build_domains(0)
    questions = [question for domain in domains for question in domain.questions]
    assert tuple(domain.name for domain in domains) == NAMES
    assert Counter(question.difficulty for question in questions) == {"easy": 40, "medium": 40, "hard": 20}
    types = Counter(question.answer_type for question in questions)
    assert set(types) == {"integer", "float", "string", "list", "table"}
    assert min(types.values()) >= 8
    assert len({(domain.name, question.question) for domain in domains for question in domain.questions}) == 100


@every_domain
def test_tables_have_the_promised_sizes(seed: int, name: str) -> None:
    tables = domain_of(seed, name).tables
    assert 4 <= len(tables) <= 6
    for table in tables:
        assert 30 <= len(table.rows) <= 600, table.name
        assert all(len(row) == len(table.columns) for row in table.rows)


@every_domain
def test_declared_keys_name_real_columns(seed: int, name: str) -> None:
    domain = domain_of(seed, name)
    columns = {(table.name, column) for table in domain.tables for column, _ in table.columns}
    for table in domain.tables:
        assert {(table.name, column) for column in table.primary_key} <= columns
        for column, other, target in table.foreign_keys:
            assert {(table.name, column), (other, target)} <= columns


@every_domain
def test_the_mess_of_real_databases_is_there(seed: int, name: str) -> None:
    domain = domain_of(seed, name)
    by_name = {table.name: table for table in domain.tables}
    assert any(value is None for table in domain.tables for row in table.rows for value in row)
    assert any(len(set(table.rows)) < len(table.rows) for table in domain.tables), "no repeated row"
    found = [values for table in domain.tables for values in texts(table)]
    assert any(len({value.strip().lower() for value in values}) < len(values) for values in found), "no stray case"
    assert any({"n/a", "unknown"} & values and any(re.fullmatch(r"\d+\.\d\d", v) for v in values) for values in found)
    orphans = [
        key
        for table in domain.tables
        for column, other, target in table.foreign_keys
        for key in set(column_values(table, column)) - {None} - set(column_values(by_name[other], target))
    ]
    assert orphans


@every_domain
def test_every_gold_has_the_shape_of_its_answer_type(seed: int, name: str) -> None:
    for question, rows in answers(domain_of(seed, name)):
        assert not any(value is None for row in rows for value in row), question
        match question.answer_type:
            case "integer":
                assert [type(value) for row in rows for value in row] == [int], question
            case "float":
                assert len(rows) == len(rows[0]) == 1, question
                assert isinstance(rows[0][0], float | Decimal), question
            case "string":
                assert [type(value) for row in rows for value in row] == [str], question
            case "list":
                assert 2 <= len(rows) <= 20, question
                assert all(len(row) == 1 for row in rows), question
            case "table":
                assert 2 <= len(rows) <= 20, question
                assert all(len(row) >= 2 for row in rows), question


@every_domain
def test_no_list_repeats_a_value(seed: int, name: str) -> None:
    for question, rows in answers(domain_of(seed, name)):
        if question.answer_type == "list":
            assert len({str(row[0]).strip().lower() for row in rows}) == len(rows), question


@every_domain
def test_golds_do_not_depend_on_row_order_or_threads(seed: int, name: str) -> None:
    domain = domain_of(seed, name)
    expected = list(answers(domain))
    for shuffle, threads in ((1, 1), (2, 4)):
        mixed = shuffled(domain, random.Random(f"shuffle/{shuffle}/{seed}"))
        for (question, rows), (_, again) in zip(expected, answers(mixed, threads), strict=True):
            assert same_rows(rows, again, question.ordered), question


@every_domain
def test_no_constant_and_no_whole_table_is_an_answer(seed: int, name: str) -> None:
    domain = domain_of(seed, name)
    whole = [list(table.rows) for table in domain.tables]
    for question, rows in answers(domain):
        assert str(rows[0][0]).strip().lower() not in {"0", "1", "2", "null", ""}, question
        assert not any(same_rows(rows, table, ordered=False) for table in whole), question


@every_domain
def test_counting_repeated_rows_or_keys_twice_gives_another_answer(seed: int, name: str) -> None:
    domain = domain_of(seed, name)
    with loaded(domain) as connection:
        for question in domain.questions:
            careless = question.gold_sql.replace("SELECT DISTINCT *", "SELECT *").replace("COUNT(DISTINCT ", "COUNT(")
            if careless != question.gold_sql:
                rows, wrong = (connection.execute(sql).fetchall() for sql in (question.gold_sql, careless))
                assert not same_rows(rows, wrong, question.ordered), question
                if question.answer_type == "float":
                    assert not math.isclose(number(rows), number(wrong), rel_tol=0.01), question


@pytest.mark.parametrize("name", NAMES)
def test_reading_text_as_it_stands_is_wrong_for_some_seed(name: str) -> None:
    folding = [spec for spec in domain_of(0, name).questions if FOLDING_CALL.search(spec.gold_sql)]
    assert folding
    for question in folding:
        literal = FOLDING_CALL.sub("(", question.gold_sql)
        assert any(differs(domain_of(seed, name), question, literal) for seed in SEEDS), question


def differs(domain: Domain, question: QuestionSpec, other_sql: str) -> bool:
    with loaded(domain) as connection:
        rows, wrong = (connection.execute(sql).fetchall() for sql in (question.gold_sql, other_sql))
    return not same_rows(rows, wrong, question.ordered)


@pytest.mark.parametrize("name", NAMES)
def test_answers_change_with_the_seed(name: str) -> None:
    by_seed = [[rows for _, rows in answers(domain_of(seed, name))] for seed in SEEDS]
    for position, question in enumerate(domain_of(0, name).questions):
        assert len({repr(rows[position]) for rows in by_seed}) > 1, question
