"""A chat tells a policy exactly what the turn would: the way there and back loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.actions import Answer, Describe, ExploreAction, Malformed, Query, Sample, parse_action
from services.contracts.errors import BadInput
from services.contracts.observation import Observation
from services.contracts.policy import Exchange, Turn
from services.policy.chat import Message, messages_of, read_action, turn_of, write_action
from services.policy.heuristic import HeuristicPolicy
from services.policy.random import RandomPolicy
from tests.conftest import Table

TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            " ",
            "\n",
            ": x",
            "= 1",
            "SELECT 1\nFROM t\n",
            "QUERY",
            "QUERY a",
            "ANSWER : 3",
            '{"kind":"ANSWER","value":"x"}',
            '{"action_type": "QUERY", "argument": "SELECT 1"}',
            "Question: a\n\ntables: b\nSteps left: 3",
            "Step 1 done, 2 left. Result:\nx",
            "Error:\n",
        ]
    ),
)
ACTION = st.one_of(
    st.builds(Describe, table=TEXT),
    st.builds(Sample, table=TEXT),
    st.builds(Query, sql=TEXT),
    st.builds(Answer, value=TEXT),
    st.builds(Malformed, text=TEXT, reason=TEXT),
    TEXT.map(parse_action),
)
NUMBER = st.one_of(st.integers(), st.integers(0, 20))
OBSERVATION = st.builds(
    Observation,
    question=TEXT,
    schema_info=TEXT,
    result=TEXT,
    error=st.one_of(st.just(""), TEXT),
    step_count=NUMBER,
    budget_remaining=NUMBER,
    action_history=st.lists(TEXT, max_size=3).map(tuple),
)
TURN = st.builds(
    Turn,
    task_id=TEXT,
    seed=st.integers(0, 2**64 - 1),
    first=OBSERVATION,
    history=st.lists(st.builds(Exchange, action=ACTION, observation=OBSERVATION), max_size=4).map(tuple),
)


@given(TURN)
def test_any_turn_comes_back_from_its_messages(turn: Turn) -> None:
    assert turn_of(messages_of(turn), turn.seed, turn.task_id) == turn


@given(ACTION)
def test_any_action_comes_back_from_its_text(action: ExploreAction) -> None:
    assert read_action(write_action(action)) == action


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Query(sql="SELECT 1\nFROM t"), "QUERY SELECT 1\nFROM t"),
        (Answer(value=""), "ANSWER "),
        (Answer(value=": 3"), '{"action_type": "ANSWER", "argument": ": 3"}'),
        (Answer(value=" 3 "), '{"kind":"ANSWER","value":" 3 "}'),
        (parse_action("no idea"), "no idea"),
        (parse_action("QUERY"), "QUERY"),
        (parse_action('{"action_type": "FLY"}'), '{"action_type": "FLY"}'),
    ],
)
def test_an_action_is_written_as_plainly_as_is_exact(action: ExploreAction, text: str) -> None:
    assert write_action(action) == text


def test_the_messages_of_an_episode_are_for_reading(table: Table) -> None:
    turn = played(table, "retail-000", ["DESCRIBE orders", "QUERY SELECT nothing FROM orders", "what?"])
    system, first, *rest = messages_of(turn)
    assert system.role == "system"
    assert first.content.startswith("Question: How many orders are there?\n\ntables: ")
    assert first.content.endswith("\nSteps left: 15")
    assert [message.role for message in rest] == ["assistant", "user"] * 3
    assert rest[0].content == "DESCRIBE orders"
    assert rest[1].content.startswith("Step 1 done, 14 left. Result:\ntable orders (")
    assert rest[3].content.startswith("Step 2 done, 13 left. Error:\n")
    assert rest[4].content == "what?"


def test_policies_act_the_same_on_a_turn_and_on_its_messages(table: Table) -> None:
    for task_id in ("retail-000", "retail-007"):
        turn = played(table, task_id, ["DESCRIBE orders", "SAMPLE orders", "QUERY SELECT count(*) FROM orders"])
        told = turn_of(messages_of(turn), turn.seed, turn.task_id)
        for policy in (RandomPolicy(), HeuristicPolicy()):
            (action,) = policy.act([turn])
            assert policy.act([told]) == [action]
            assert read_action(write_action(action)) == action


def test_system_and_developer_messages_are_passed_over() -> None:
    turn = turn_of([Message(role="developer", content="be brief"), *messages_of(simple())[1:]], 1, "t")
    assert turn == simple()


@pytest.mark.parametrize(
    "said",
    [
        [],
        [("system", "hello")],
        [("user", "How many orders are there?")],
        [("assistant", "ANSWER 1")],
        [("user", "Question: a\n\ntables: b\nSteps left: 3"), ("assistant", "ANSWER 1")],
        [("user", "Question: a\n\ntables: b\nSteps left: 3"), ("assistant", "ANSWER 1"), ("user", "fine")],
        [("user", '{"question": "a"}')],
    ],
)
def test_messages_that_tell_of_no_turn_are_refused(said: list[tuple[str, str]]) -> None:
    messages = [Message.model_validate({"role": role, "content": content}) for role, content in said]
    with pytest.raises(BadInput, match="message"):
        turn_of(messages, 0, "")


def simple() -> Turn:
    first = Observation(question="How many?", schema_info="tables: a", budget_remaining=15)
    return Turn(task_id="t", seed=1, first=first, history=())


def played(table: Table, task_id: str, said: list[str]) -> Turn:
    """The turn after some actions of an episode."""
    episode = table.start(task_id)
    first, history = episode.reset(), []
    for action in map(parse_action, said):
        sql = episode.statement(action)
        outcome = None if sql is None else table.run(table.task_set.tasks[task_id].database, sql)
        history.append(Exchange(action=action, observation=episode.apply(action, outcome)))
    return Turn(task_id=task_id, seed=5, first=first, history=tuple(history))
