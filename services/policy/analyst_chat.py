"""An analyst's turn as chat messages and back, exactly: observations and actions are JSON objects.

Invariant: `turn_of(spoken(turn), turn.seed) == turn`; the task's id is in the observation.
"""

import json
import re
from collections.abc import Iterator, Sequence

from pydantic import TypeAdapter, ValidationError

from services.contracts.actions import AnalystAction, SQLAction, parse_sql_action
from services.contracts.errors import BadInput
from services.contracts.observation import SQLObservation
from services.contracts.policy import AnalystExchange, AnalystTurn

Spoken = tuple[str, str]
"""Role and content of a message."""
_ACTION: TypeAdapter[AnalystAction] = TypeAdapter(AnalystAction)
_FENCED = re.compile(r"```(?:sql|json)?[ \t\r]*\n(.*?)```", re.DOTALL)


def spoken(turn: AnalystTurn) -> Iterator[Spoken]:
    """The first observation, then each action with the observation that followed."""
    yield "user", turn.first.model_dump_json()
    for exchange in turn.history:
        yield "assistant", write_sql_action(exchange.action)
        yield "user", exchange.observation.model_dump_json()


def is_analyst(first: str) -> bool:
    """Whether the first user message is an analyst's observation."""
    return first.startswith('{"question":') and '"schema":' in first


def turn_of(contents: Sequence[str], seed: int) -> AnalystTurn:
    """The turn that the contents tell of, user and assistant in turns. Raises BadInput."""
    history = tuple(
        AnalystExchange(action=read_sql_action(asked), observation=_read(told))
        for asked, told in zip(contents[1::2], contents[2::2], strict=True)
    )
    first = _read(contents[0])
    return AnalystTurn(task_id=first.task_id, seed=seed, first=first, history=history)


def write_sql_action(action: AnalystAction) -> str:
    """The action as text that `read_sql_action` reads back."""
    if isinstance(action, SQLAction):
        text = json.dumps({"sql_query": action.sql_query, "is_done": action.is_done}, ensure_ascii=False)
        if read_sql_action(text) == action:
            return text
    return action.model_dump_json()


def read_sql_action(text: str) -> AnalystAction:
    """The action of a reply: its own record as JSON, what `parse_sql_action` knows, or either in a fence."""
    if text.startswith('{"kind":'):
        try:
            return _ACTION.validate_json(text)
        except ValidationError:
            return parse_sql_action(text)
    fenced = _FENCED.search(text)
    return parse_sql_action(fenced[1] if fenced else text)


def _read(text: str) -> SQLObservation:
    try:
        return SQLObservation.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(f"a user message must be an analyst's observation as JSON, not {text[:80]!r}") from error
