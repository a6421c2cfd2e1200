"""A turn as the messages of a request: the rules, the task, then each step, the oldest left out if they are too many.

Invariant: a tool's result never stands without its call, and the newest step is always told.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from openai.types.chat import ChatCompletionMessageParam
from pydantic import JsonValue

from services.contracts.actions import Action
from services.contracts.etl import EtlAction, EtlObservation, EtlTurn
from services.contracts.observation import Observation, SQLObservation
from services.contracts.policy import AnalystTurn, Turn
from services.policy.chat import write_action
from services.policy.llm.prompting import Prompts
from services.policy.llm.tools import Setting, Tool, call_of

Told = Turn | AnalystTurn | EtlTurn
Shown = Observation | SQLObservation | EtlObservation
Messages = list[ChatCompletionMessageParam]
BYTES_A_TOKEN = 4
MESSAGE_TOKENS = 4
"""What a message takes beside its text, about."""
WORDS_TOLD = 20_000
"""Characters of what a model said that it is told again: more than any statement may have."""
_NOTHING = "(nothing)"


def setting_of(turn: Told) -> Setting:
    """Where the turn is played."""
    return "explore" if isinstance(turn, Turn) else "analyst" if isinstance(turn, AnalystTurn) else "etl"


class Transcript:
    """Writes turns with given prompts: as words, or as tool calls and their results."""

    def __init__(self, prompts: Prompts, tools: bool, history_tokens: int) -> None:
        self._prompts = prompts
        self._tools = tools
        self._history_tokens = history_tokens

    def messages(self, turn: Told) -> Messages:
        """The messages of a request, about `history_tokens` at most but for the task and the newest step."""
        head, steps = self.head(turn), self.steps(turn)
        kept = _newest(steps, self._history_tokens - tokens_of(head))
        if len(kept) < len(steps):
            left_out = f"(Steps 1 to {len(steps) - len(kept)} are left out.)"
            head[1] = {"role": "user", "content": f"{self._first(turn)}\n\n{left_out}"}
        return [*head, *chain.from_iterable(kept)]

    def head(self, turn: Told) -> Messages:
        """The rules and the task."""
        rules = self._prompts.render(setting_of(turn), "system", tools=self._tools, exact=False)
        return [{"role": "system", "content": rules}, {"role": "user", "content": self._first(turn)}]

    def steps(self, turn: Told, said: Sequence[str] = ()) -> list[Messages]:
        """Each step: what the model did, with what it `said` beside it, and what came of it."""
        setting = setting_of(turn)
        return [
            [self._did(number, action, reasoning or ""), self._came(setting, number, action, seen)]
            for number, ((action, seen), reasoning) in enumerate(zip_longest(_pairs(turn), said), 1)
        ]

    def _did(self, number: int, action: Action | EtlAction, said: str) -> ChatCompletionMessageParam:
        call = call_of(action) if self._tools else None
        if call is None:
            text = _words(action)[:WORDS_TOLD]
            return {"role": "assistant", "content": f"{said}\n\n{text}" if said else text or _NOTHING}
        function = {"name": call.name, "arguments": call.arguments}
        calls = [{"id": _call_id(number), "type": "function", "function": function}]
        return {"role": "assistant", "content": said or None, "tool_calls": calls}  # type: ignore[typeddict-item]

    def _came(
        self, setting: Setting, number: int, action: Action | EtlAction, seen: Shown
    ) -> ChatCompletionMessageParam:
        text = self._prompts.render(setting, "later", tools=self._tools, step=number, **_given_later(seen))
        if self._tools and call_of(action) is not None:
            return {"role": "tool", "tool_call_id": _call_id(number), "content": text}
        return {"role": "user", "content": text}

    def _first(self, turn: Told) -> str:
        return self._prompts.render(setting_of(turn), "first", tools=self._tools, **_given_first(turn))


def tokens_of(messages: Sequence[ChatCompletionMessageParam]) -> int:
    """About how many tokens the messages are: four bytes each, and a few a message."""
    return sum(MESSAGE_TOKENS + bytes_of([message]) // BYTES_A_TOKEN for message in messages)


def bytes_of(messages: Sequence[ChatCompletionMessageParam], tools: Sequence[Tool] = ()) -> int:
    """The bytes of the messages as they are sent, and of the tools."""
    return sum(len(json.dumps(part, ensure_ascii=False).encode("utf-8", "replace")) for part in (*messages, *tools))


def _newest(steps: Sequence[Messages], tokens: int) -> list[Messages]:
    """As many of the last steps as fit, the very last in any case."""
    kept: list[Messages] = []
    for step in reversed(steps):
        tokens -= tokens_of(step)
        if tokens < 0 and kept:
            break
        kept.insert(0, step)
    return kept


def _pairs(turn: Told) -> Iterator[tuple[Action | EtlAction, Shown]]:
    if isinstance(turn, EtlTurn):
        yield from turn.history
    else:
        yield from ((exchange.action, exchange.observation) for exchange in turn.history)


def _words(action: Action | EtlAction) -> str:
    if action.kind == "MALFORMED":
        return action.text
    if action.kind in ("DESCRIBE", "SAMPLE", "QUERY", "ANSWER", "SQL"):
        return write_action(action)
    return action.model_dump_json(exclude={"reasoning"})


def _call_id(number: int) -> str:
    return f"call_{number}"


def _given_first(turn: Told) -> dict[str, JsonValue]:
    if isinstance(turn, Turn):
        seen = turn.first
        return {"question": seen.question, "schema": seen.schema_info, "steps_left": seen.budget_remaining}
    if isinstance(turn, AnalystTurn):
        return {
            "question": turn.first.question,
            "schema": {name: {**columns} for name, columns in turn.first.schema_.items()},
        }
    job = turn.first
    original = ";\n".join(job.original)
    told: dict[str, JsonValue] = {"question": job.question, "sources": job.sources, "contract": job.contract}
    return told | {"original": original, "steps_left": job.budget_remaining}


def _given_later(seen: Shown) -> dict[str, JsonValue]:
    if isinstance(seen, SQLObservation):
        rows = "\n".join(json.dumps(row, ensure_ascii=False, default=str) for row in seen.last_result)
        return {"failed": bool(seen.error_message), "shown": seen.error_message or rows or "(no rows)"}
    told: dict[str, JsonValue] = {"failed": bool(seen.error), "shown": seen.error or seen.result}
    told["steps_left"] = seen.budget_remaining
    return told | {"best": seen.best} if isinstance(seen, EtlObservation) else told
