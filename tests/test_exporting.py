"""An exported episode counts by the statement that it answered with, though others were tried after it."""

import duckdb
import pytest

from cluster.training.exporting import played_of
from services.contracts.actions import Answer, Describe, ExploreAction, Query
from services.contracts.observation import Observation
from services.contracts.policy import Exchange, Turn
from services.policy.heuristic.reading import read_schema
from services.policy.tier.compiling import compile_state
from services.policy.tier.operations import Filter, Item, Operations, Project, Ref, Scan, Submit, carried
from services.policy.tier.state import run
from tests.test_heuristic import catalog_of, look

ROW = {"episode_id": "e", "database": "d", "reward": 1.0}
SINGERS = """
CREATE TABLE singer (name VARCHAR, country VARCHAR, age BIGINT);
INSERT INTO singer VALUES ('Joe', 'France', 52), ('Tim', 'Peru', 32), ('Ann', 'France', 29), ('Liv', 'Peru', 41);
"""
COUNT = Project(Item(None, "count"))
ALL: Operations = (Scan("singer"), COUNT, Submit())
FRENCH: Operations = (Scan("singer"), Filter(Ref(0, "country"), "=", ("France",)), COUNT, Submit())


def told(answer: str, *raw: str) -> Turn:
    """An episode that tries both queries, then raw SQL, and answers."""
    connection = duckdb.connect()
    connection.execute(SINGERS)
    first = Observation(question="How many?", schema_info=catalog_of(connection).schema_info(), budget_remaining=15)
    turn = Turn(task_id="t", seed=0, first=first, history=())

    def then(action: ExploreAction) -> None:
        nonlocal turn
        result, error = ("", "") if isinstance(action, Answer) else look(connection, catalog_of(connection), action)
        left = turn.observation.budget_remaining - (not isinstance(action, Answer))
        seen = first.model_copy(update={"result": result, "error": error, "budget_remaining": left})
        turn = turn.model_copy(update={"history": (*turn.history, Exchange(action=action, observation=seen))})

    then(Describe(table="singer"))
    for operations in (ALL, FRENCH):
        schema = read_schema(turn.history)
        then(Query(sql=carried(compile_state(run(operations, schema), schema), operations)))
    for sql in raw:
        then(Query(sql=sql))
    then(Answer(value=answer))
    return turn


@pytest.mark.parametrize(("answer", "operations"), [("4", ALL), ("2", FRENCH), ("7", FRENCH)])
def test_the_statement_that_shows_the_answer_counts_else_the_latest(answer: str, operations: Operations) -> None:
    played = played_of(ROW, told(answer))
    assert played is not None
    assert tuple(played.operations) == operations
    assert played.steps_left == 14


def test_raw_sql_that_operations_can_say_counts_too() -> None:
    played = played_of(ROW, told("Joe", "SELECT name FROM singer WHERE age = 52"))
    assert played is not None
    assert [one.kind for one in played.operations] == ["scan", "filter", "project", "submit"]
