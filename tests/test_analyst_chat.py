"""An analyst's turn and its messages say the same, whatever is in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.actions import AnalystAction, Malformed, SQLAction
from services.contracts.errors import BadInput
from services.contracts.observation import SQLObservation
from services.contracts.policy import AnalystExchange, AnalystTurn
from services.policy.analyst_chat import read_sql_action, write_sql_action
from services.policy.chat import Message, messages_of, turn_of

CELLS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
OBSERVATIONS = st.builds(
    SQLObservation,
    question=st.text(min_size=1),
    task_id=st.just("t"),
    schema=st.dictionaries(st.text(), st.dictionaries(st.text(), st.text(), max_size=2), max_size=2),
    last_result=st.lists(st.dictionaries(st.text(), CELLS, max_size=2), max_size=5),
    error_message=st.none() | st.text(),
    step_history=st.lists(st.text(), max_size=4).map(tuple),
)
ACTIONS = st.builds(SQLAction, sql_query=st.text(), is_done=st.booleans()) | st.builds(
    Malformed, text=st.text(), reason=st.text()
)
EXCHANGES = st.builds(AnalystExchange, action=ACTIONS, observation=OBSERVATIONS)
TURNS = st.builds(
    AnalystTurn,
    task_id=st.just("t"),
    seed=st.integers(0, 2**60),
    first=OBSERVATIONS,
    history=st.lists(EXCHANGES, max_size=3).map(tuple),
)


@given(TURNS)
def test_any_turn_comes_back_from_its_messages(turn: AnalystTurn) -> None:
    assert turn_of(messages_of(turn), turn.seed, "told otherwise") == turn


@given(ACTIONS)
def test_any_action_comes_back_from_its_text(action: AnalystAction) -> None:
    assert read_sql_action(write_sql_action(action)) == action


@given(st.text())
def test_any_reply_is_an_action(text: str) -> None:
    assert isinstance(read_sql_action(text), SQLAction | Malformed)


def test_messages_that_are_not_an_analysts_are_bad_input() -> None:
    first = Message(role="user", content='{"question": 1, "schema": {}}')
    with pytest.raises(BadInput):
        turn_of([first], 0, "t")
    good = SQLObservation(question="?", task_id="t", schema={}).model_dump_json()
    with pytest.raises(BadInput, match="as JSON"):
        turn_of([Message(role="user", content=good), Message(role="assistant", content="SELECT 1"), first], 0, "t")
