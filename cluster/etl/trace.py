"""The agent at work, as it happens: trace.jsonl, a line an event, each on disk before the next thing is done.

`messages_of` gives the same episode as the chat messages that a model would be trained on.
"""

import json
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import TracebackType

from pydantic import JsonValue

from services.contracts.errors import BadInput
from services.contracts.etl import EtlAction, EtlSpent, EtlTurn
from services.env_actor.etl.episode import EtlStep
from services.policy.llm.prompting import Prompts
from services.policy.llm.transcript import Messages, Transcript

Message = dict[str, JsonValue]


class Trace:
    """The file; `tail -f` shows each line when it is written."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput if the file cannot be made."""
        try:
            self._file = path.open("x", encoding="utf-8")
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror}") from error

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, event: str, fields: Message) -> None:
        """Append one event."""
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | fields
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def decided(self, number: int, action: EtlAction, spent: EtlSpent) -> None:
        """The agent has chosen: shown before the tool is at work, with what the choice took."""
        told: Message = {"step": number, "reasoning": action.reasoning, "tool": action.kind}
        self.write("action", told | {"input": arguments_of(action)} | spent.model_dump(exclude_none=True))

    def done(self, number: int, step: EtlStep) -> None:
        """The tool has answered: reasoning, input and output in one line."""
        reply = step.reply
        told: Message = {"step": number, "reasoning": step.action.reasoning, "tool": step.action.kind}
        told |= {"input": arguments_of(step.action), "output": reply.text, "error": reply.error, "limit": reply.limit}
        told |= {"cpu_s": reply.cpu_s, "bytes_read": reply.bytes_read, "wall_s": round(step.wall_s, 3)}
        self.write("step", told)


def arguments_of(action: EtlAction) -> dict[str, JsonValue]:
    """The fields of a tool call."""
    fields: dict[str, JsonValue] = action.model_dump(mode="json", exclude={"kind", "reasoning"})
    return fields


def messages_of(turn: EtlTurn) -> Messages:
    """The episode as chat messages with tool calls."""
    written = Transcript(Prompts(), tools=True, history_tokens=0)
    said = [action.reasoning for action, _ in turn.history]
    return [*written.head(turn), *chain.from_iterable(written.steps(turn, said))]
