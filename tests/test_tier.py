"""The structured tier: what is legal runs, values stay values, and a statement leads back to its operations."""

import asyncio
from collections import Counter

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from cluster.tasksets.demonstrations import Refusal, demonstrate, report
from services.env_actor.taskset import TaskSet
from services.policy.tier.compiling import compile_state
from services.policy.tier.demonstration import Demonstration
from services.policy.tier.frames import State
from services.policy.tier.operations import (
    Close,
    Combine,
    Filter,
    Item,
    Nest,
    Operation,
    Project,
    Ref,
    Scan,
    Submit,
    carried,
    read_operations,
)
from services.policy.tier.state import IllegalOperation, run, step
from services.policy.tier.translating import Untranslatable, translate
from tests.tier import database, schema_of, walks

BASE = database()
SCHEMA = schema_of(BASE)
RELAXED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rows(sql: str) -> Counter[str] | None:
    """The result as a bag; None where a sub-query gives more rows than one, which only the data can tell."""
    try:
        return Counter(map(repr, BASE.cursor().execute(sql).fetchall()))
    except duckdb.InvalidInputException as error:
        assert "More than one row" in str(error)  # noqa: PT017
        return None


@RELAXED
@given(walks(SCHEMA))
def test_every_partial_result_of_a_legal_walk_runs_and_carries_its_operations(walk: tuple[Operation, ...]) -> None:
    state = State()
    for operation in walk:
        state = step(state, operation, SCHEMA)
        if state.frame.sources:
            statement = carried(compile_state(state, SCHEMA), state.taken)
            rows(statement)
            assert read_operations(statement) == state.taken
    assert state.over
    assert len(duckdb.extract_statements(statement)) == 1


def test_a_sub_query_that_combines_numbers_with_text_can_be_compared() -> None:
    number, name = Ref(0, "singer_id"), Ref(0, "name")
    for first, second in ((name, number), (number, name)):
        for operator in (">", "in"):
            inner = (Project(Item(first)), Combine("union"), Scan("singer"), Project(Item(second)))
            walk = (Scan("singer"), Nest(Item(number), operator, False), Scan("singer"), *inner, Close(), Submit())
            rows(compile_state(run(walk, SCHEMA), SCHEMA))


@RELAXED
@given(walks(SCHEMA))
def test_the_operations_read_back_from_a_statement_give_its_result(walk: tuple[Operation, ...]) -> None:
    sql = compile_state(run(walk, SCHEMA), SCHEMA)
    try:
        again = translate(sql, SCHEMA)
    except Untranslatable:
        return
    other = compile_state(run(again, SCHEMA), SCHEMA)
    if not parse_one(sql, read="duckdb").find(exp.Limit):  # else ties may be cut differently
        assert rows(other) == rows(sql)


@given(st.text(), st.text())
def test_what_carries_nothing_readable_is_read_as_nothing(sql: str, text: str) -> None:
    assert read_operations(sql) is None
    assert read_operations(f"{sql}\n-- operations: {text}") is None or text.strip().startswith("[")


@RELAXED
@given(st.text())
def test_a_value_stays_one_literal_whatever_it_holds(value: str) -> None:
    walk = (Scan("singer"), Filter(Ref(0, "name"), "=", (value,)), Project(Item(None, "count")), Submit())
    sql = compile_state(run(walk, SCHEMA), SCHEMA)
    expected = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if expected.encode("utf-8", "ignore").decode() != expected:
        return
    assert len(duckdb.extract_statements(carried(sql, walk))) == 1
    tree = parse_one(sql, read="duckdb")
    assert [literal.this for literal in tree.find_all(exp.Literal)] == [expected]
    counted = BASE.cursor().execute("SELECT count(*) FROM singer WHERE name = ?", [expected]).fetchall()
    assert BASE.cursor().execute(carried(sql, walk)).fetchall() == counted


def test_an_operation_out_of_order_is_refused() -> None:
    state = run((Scan("singer"), Project(Item(Ref(0, "name")))), SCHEMA)
    for late in (Filter(Ref(0, "age"), ">", (1,)), Project(Item(Ref(1, "name"))), Project(Item(Ref(0, "nope")))):
        with pytest.raises(IllegalOperation):
            step(state, late, SCHEMA)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT count(*) FROM (SELECT DISTINCT country FROM singer)", "a sub-query in FROM"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "has WITH"),
        ("SELECT name FROM singer WHERE EXISTS (SELECT 1 FROM singing)", "EXISTS"),
        ("SELECT name FROM nowhere", "a table that is not there"),
        ("DROP TABLE singer", "no SELECT"),
        ("SELECT (", "cannot be parsed"),
    ],
)
def test_what_operations_cannot_say_is_refused_with_its_reason(sql: str, reason: str) -> None:
    with pytest.raises(Untranslatable, match=reason):
        translate(sql, SCHEMA)


async def _demonstrations(task_set: TaskSet) -> list[Demonstration | Refusal]:
    return [one async for one in demonstrate(task_set)]


def test_the_built_in_golds_are_demonstrated_or_counted_by_reason(builtin: TaskSet) -> None:
    made = asyncio.run(_demonstrations(builtin))
    proven = [one for one in made if isinstance(one, Demonstration)]
    refused = [one for one in made if isinstance(one, Refusal)]
    figures = report(proven, refused)
    assert figures.tasks == len(builtin.tasks) == len(proven) + sum(figures.reasons.values())
    assert figures.proven >= 45
    assert figures.reachable_share >= 0.9
    assert not {"does not run", "gives another result"} & set(figures.reasons)
    assert Demonstration.model_validate_json(proven[0].model_dump_json()) == proven[0]
