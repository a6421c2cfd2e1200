"""A turn as chat messages and back, exactly: a chat is all that a policy behind HTTP is told.

Invariant: `turn_of(messages_of(turn), turn.seed, turn.task_id) == turn`. Each message is written in the form that reads
best, read back, and written as plain JSON instead if the two differ.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from services.contracts.actions import (
    Action,
    ExploreAction,
    SQLAction,
    argument_of,
    history_line,
    parse_action,
    render_action,
)
from services.contracts.errors import BadInput
from services.contracts.observation import Observation
from services.contracts.policy import AnalystTurn, AnyTurn, Exchange, Turn
from services.contracts.record import Record
from services.policy import analyst_chat
from services.policy.llm.prompting import packaged_rules

_ACTION: TypeAdapter[ExploreAction] = TypeAdapter(ExploreAction)
_ASKED, _GAP, _STEPS_LEFT = "Question: ", "\n\n", re.compile(r"\nSteps left: ([0-9]{1,9})\Z")
_LATER = re.compile(r"Step ([0-9]{1,9}) done, ([0-9]{1,9}) left\. (Result|Error):\n(.*)\Z", re.DOTALL)


class Message(Record):
    """One message of a chat; what else a client sends with it is ignored."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str


def messages_of(turn: AnyTurn) -> tuple[Message, ...]:
    """The rules, the question, and each action with its observation. Seed and explore's task id are not in them."""
    if isinstance(turn, AnalystTurn):
        rules = Message(role="system", content=packaged_rules("analyst"))
        said = ({"role": role, "content": content} for role, content in analyst_chat.spoken(turn))
        return (rules, *map(Message.model_validate, said))
    return (Message(role="system", content=packaged_rules("explore")), *_spoken(turn))


def turn_of(messages: Sequence[Message], seed: int, task_id: str) -> AnyTurn:
    """The turn that the messages tell of; system messages are passed over. Raises BadInput if they tell of none."""
    spoken = [message for message in messages if message.role in ("user", "assistant")]
    roles = [message.role for message in spoken]
    if not spoken or roles != [("user", "assistant")[place % 2] for place in range(len(roles))] or len(roles) % 2 == 0:
        raise BadInput("messages must be of user and assistant in turns, and begin and end with the user")
    if analyst_chat.is_analyst(spoken[0].content):
        return analyst_chat.turn_of([message.content for message in spoken], seed)
    seen = first = _read_first(spoken[0].content)
    history: list[Exchange] = []
    for asked, told in zip(spoken[1::2], spoken[2::2], strict=True):
        action = read_action(asked.content)
        seen = _read_later(told.content, seen, action)
        history.append(Exchange(action=action, observation=seen))
    return Turn(task_id=task_id, seed=seed, first=first, history=tuple(history))


def write_action(action: Action) -> str:
    """The action as text that `read_action` reads back: `VERB argument` if that is exact, else JSON."""
    if isinstance(action, SQLAction):
        return analyst_chat.write_sql_action(action)
    return next((text for text in _forms(action) if read_action(text) == action), action.model_dump_json())


def read_reply(text: str, turn: AnyTurn) -> Action:
    """The action of a reply to that turn."""
    return analyst_chat.read_sql_action(text) if isinstance(turn, AnalystTurn) else read_action(text)


def read_action(text: str) -> ExploreAction:
    """The action of a reply: every form that `parse_action` knows, and an action's own record as JSON."""
    if text.startswith('{"kind":'):
        try:
            return _ACTION.validate_json(text)
        except ValidationError:
            return parse_action(text)
    return parse_action(text)


def _forms(action: ExploreAction) -> Iterator[str]:
    yield render_action(action)
    yield argument_of(action)
    yield json.dumps({"action_type": action.kind, "argument": argument_of(action)}, ensure_ascii=False)


def _spoken(turn: Turn) -> Iterator[Message]:
    yield Message(role="user", content=_write_first(turn.first))
    seen = [turn.first, *(exchange.observation for exchange in turn.history)]
    for exchange, (before, after) in zip(turn.history, pairwise(seen), strict=True):
        yield Message(role="assistant", content=write_action(exchange.action))
        yield Message(role="user", content=_write_later(after, before, exchange.action))


def _write_first(seen: Observation) -> str:
    text = f"Question: {seen.question}\n\n{seen.schema_info}\nSteps left: {seen.budget_remaining}"
    return text if _first_in(text) == seen else seen.model_dump_json()


def _read_first(text: str) -> Observation:
    return _first_in(text) or _from_json(text)


def _first_in(text: str) -> Observation | None:
    """What the text shows, in time that grows with its length: a stranger may have written it."""
    left = _STEPS_LEFT.search(text)
    question, gap, schema = text[: left.start()].rpartition(_GAP) if left else ("", "", "")
    if left is None or not gap or not question.startswith(_ASKED):
        return None
    return Observation(question=question.removeprefix(_ASKED), schema_info=schema, budget_remaining=int(left[1]))


def _write_later(seen: Observation, before: Observation, action: ExploreAction) -> str:
    kind, shown = ("Error", seen.error) if seen.error else ("Result", seen.result)
    text = f"Step {seen.step_count} done, {seen.budget_remaining} left. {kind}:\n{shown}"
    found = _LATER.match(text)
    return text if found is not None and _later_of(found, before, action) == seen else seen.model_dump_json()


def _read_later(text: str, before: Observation, action: ExploreAction) -> Observation:
    found = _LATER.match(text)
    return _later_of(found, before, action) if found is not None else _from_json(text)


def _later_of(found: re.Match[str], before: Observation, action: ExploreAction) -> Observation:
    return Observation(
        question=before.question,
        schema_info=before.schema_info,
        result=found[4] if found[3] == "Result" else "",
        error=found[4] if found[3] == "Error" else "",
        step_count=int(found[1]),
        budget_remaining=int(found[2]),
        action_history=(*before.action_history, history_line(action)),
    )


def _from_json(text: str) -> Observation:
    try:
        return Observation.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(
            "a user message must be 'Question: …', a blank line, 'tables: …', 'Steps left: N' at first, and then "
            f"'Step N done, N left. Result:' or 'Error:' with the text below; not {text[:80]!r}"
        ) from error
