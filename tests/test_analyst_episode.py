"""An episode of the analyst: what it shows, what ends it, and which mistakes cost."""

import json

import pytest

from services.contracts.actions import Answer, Malformed, SQLAction, parse_sql_action
from services.contracts.observation import SQLObservation
from services.contracts.statements import LimitHit, SqlError, StatementOutcome
from services.env_actor.analyst.episode import AnalystEpisode
from services.env_actor.analyst.showing import unique_names
from tests.analyst_table import AnalystTable, submit

TASK = "category_revenue"


def last(episode: AnalystEpisode) -> SQLObservation:
    return episode.turn(0).first


def test_the_first_observation_has_the_question_and_the_whole_schema(analyst: AnalystTable) -> None:
    seen = analyst.start(TASK).reset()
    task = analyst.task_set.tasks[TASK]
    assert (seen.question, seen.task_id) == (task.question, TASK)
    assert seen.schema_ == {t.name: dict(t.columns) for t in analyst.task_set.catalog(task.database).tables}
    wire = json.loads(seen.model_dump_json())
    assert list(wire) == ["question", "task_id", "schema", "last_result", "error_message", "step_history"]
    assert SQLObservation.model_validate(wire) == seen


def test_five_rows_are_shown_and_the_last_four_actions(analyst: AnalystTable) -> None:
    episode = analyst.start(TASK)
    database = analyst.task_set.tasks[TASK].database
    said = [f"SELECT {n} AS n, 'a' AS n, NULL, 1.50::DECIMAL(9,2) AS d FROM range(9)" for n in range(6)]
    for sql in said:
        seen = episode.apply(SQLAction(sql_query=sql), analyst.run(database, sql))
    assert seen.last_result == [{"n": 5, "n_2": "a", "NULL": None, "d": "1.50"}] * 5
    assert seen.step_history == tuple(said[-4:])
    assert seen.error_message is None
    assert json.loads(episode.steps[-1].result) == seen.last_result


def test_names_that_come_again_are_numbered() -> None:
    assert unique_names(["id", "id", "id_2", "id"]) == ["id", "id_2", "id_2_2", "id_3"]


def test_nothing_of_gold_or_a_hidden_copy_is_shown(analyst: AnalystTable) -> None:
    for task_id, gold in analyst.golds.items():
        assert gold.analyst is not None
        episode = analyst.play(task_id, [gold.gold_sql, "SELECT nothing", "SELECT * FROM nowhere"])
        texts = [step.result + step.error for step in episode.steps]
        assert "copy" not in last(analyst.start(task_id)).model_dump_json() + "".join(texts)
        assert gold.gold_sql not in last(analyst.start(task_id)).question
        for copy in gold.analyst.copies:
            assert str(copy.rows[0]) not in texts[0]


def test_a_hidden_copy_cannot_be_read_by_its_name(analyst: AnalystTable) -> None:
    gold = analyst.golds[TASK]
    assert gold.analyst is not None
    table = next(iter(gold.analyst.tables))
    for copy in gold.analyst.copies:
        path = analyst.task_set.database_path(copy.database)
        for source in (
            f"{copy.database}.{table}",
            f"{copy.database}.main.{table}",
            f"'{path}'",
            f"read_parquet('{path}')",
        ):
            assert analyst.play(TASK, [f"SELECT * FROM {source}"]).steps[0].outcome.kind in ("refused", "sql_error")


@pytest.mark.parametrize(
    "sql",
    ["SELEC 1", "SELECT nothing", "SELECT * FROM nowhere", "SELECT no(1)", "DROP TABLE x", "SELECT 1; SELECT 2"],
)
def test_a_statement_that_does_not_parse_or_bind_costs_a_tenth(analyst: AnalystTable, sql: str) -> None:
    step = analyst.play(TASK, [sql]).steps[0]
    assert step.error
    assert (step.components.invalid, step.reward, step.score) == (-0.1, -0.1, None)


@pytest.mark.parametrize(
    "outcome",
    [
        LimitHit(reason="timeout", message="the statement ran out of time"),
        LimitHit(reason="memory", message="the statement ran out of memory"),
        LimitHit(reason="crash", message="the statement ended the engine"),
        SqlError(message="Conversion Error: Could not convert string 'a' to INT32"),
    ],
)
def test_a_statement_that_runs_into_a_limit_or_a_value_costs_nothing(
    analyst: AnalystTable, outcome: StatementOutcome
) -> None:
    episode = analyst.start(TASK)
    seen = episode.apply(SQLAction(sql_query="SELECT 1"), outcome)
    assert seen.error_message == outcome.message
    assert episode.steps[0].reward == 0.0


def test_an_error_that_only_says_it_does_not_bind_is_an_error_of_a_value(analyst: AnalystTable) -> None:
    step = analyst.play(TASK, ["SELECT error('Binder Error: ' || i) FROM range(3) t(i)"]).steps[0]
    assert step.error
    assert step.reward in (0.0, -0.1)  # the engine may fold it while it binds


def test_no_action_and_an_empty_statement_cost_a_tenth(analyst: AnalystTable) -> None:
    episode = analyst.play(TASK, [Malformed(text="{", reason="not valid JSON"), SQLAction(sql_query="  ")])
    assert [step.reward for step in episode.steps] == [-0.1, -0.1]
    assert episode.steps[0].error == "no action: not valid JSON"


def test_the_budget_truncates_and_the_later_half_costs(analyst: AnalystTable) -> None:
    episode = analyst.play(TASK, ["SELECT 1"] * 20)
    assert (len(episode.steps), episode.truncation, episode.verdict()) == (10, "budget", "no_submission")
    assert [step.reward for step in episode.steps] == [0.0] * 5 + [-0.02] * 5
    assert analyst.play(TASK, ["SELECT 1"] * 20, budget=4).reward() == pytest.approx(-0.04)


def test_a_submission_on_the_last_step_counts(analyst: AnalystTable) -> None:
    episode = analyst.play(TASK, ["SELECT 1"] * 9 + [submit(analyst.gold(TASK))])
    assert (episode.verdict(), episode.truncation) == ("correct", None)
    assert episode.reward() == pytest.approx(0.9)


def test_what_is_submitted_is_the_last_statement_and_not_the_best(analyst: AnalystTable) -> None:
    gold = analyst.gold(TASK)
    verdicts = {
        "correct": [gold, submit()],
        "incorrect": [gold, "SELECT 1", submit()],
        "invalid_sql": [gold, "SELECT nothing", submit()],
        "no_submission": [submit()],
    }
    assert {verdict: analyst.play(TASK, said).verdict() for verdict, said in verdicts.items()} == {
        v: v for v in verdicts
    }


def test_a_deadline_truncates_without_a_verdict_on_the_answer(analyst: AnalystTable) -> None:
    episode = analyst.play(TASK, [analyst.gold(TASK)])
    episode.truncate("deadline")
    assert (episode.over, episode.verdict(), episode.reward()) == (True, "resource_exceeded", 0.5)


def test_an_action_of_another_environment_is_our_own_mistake(analyst: AnalystTable) -> None:
    with pytest.raises(ValueError, match="ANSWER"):
        analyst.start(TASK).apply(Answer(value="1"))
    over = analyst.play(TASK, [submit()])
    with pytest.raises(ValueError, match="over"):
        over.apply(submit())


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("SELECT 1", SQLAction(sql_query="SELECT 1")),
        ("  done: SELECT 1", SQLAction(sql_query="SELECT 1", is_done=True)),
        ("DONE", SQLAction(sql_query="", is_done=True)),
        ('{"sql_query": "SELECT 1", "is_done": true}', SQLAction(sql_query="SELECT 1", is_done=True)),
        ('{"sql_query": "SELECT 1"}', SQLAction(sql_query="SELECT 1")),
    ],
)
def test_an_action_is_json_or_a_statement(text: str, action: SQLAction) -> None:
    assert parse_sql_action(text) == action


@pytest.mark.parametrize("text", ["{", '{"sql_query": 1}', '{"sql_query": "a", "is_done": "yes"}', "{}"])
def test_what_cannot_be_read_is_no_action(text: str) -> None:
    assert isinstance(parse_sql_action(text), Malformed)
