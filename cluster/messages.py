"""The episodes of a run as examples for fine-tuning, in OpenAI's chat format: a JSON line each.

Source: OpenAI, "Supervised fine-tuning": `messages`, `tools` where used, `weight` 0 for what is not to be learned.
"""

import json
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from cluster.models import settings_of
from cluster.regrade import stored_rows
from cluster.run import RunFolder
from cluster.schema import check_version
from cluster.turns import Turns
from services.contracts.errors import BadInput
from services.policy.llm.prompting import Prompts
from services.policy.llm.settings import is_model
from services.policy.llm.tools import Tool, tools_of
from services.policy.llm.transcript import Messages, Transcript, setting_of

Form = Literal["text", "tools"]
ANY = "any"


class Exporter:
    """Writes the episodes of one run. `form` None: as its model was asked, or in words."""

    def __init__(self, run: RunFolder, form: Form | None, reasoning: bool) -> None:
        self._run = run
        self._form = form
        self._reasoning = reasoning
        self._turns = Turns(run)

    def examples(self, verdicts: Collection[str]) -> Iterator[dict[str, JsonValue]]:
        """An example of each episode with one of the verdicts, or ANY. Raises BadInput for rows that cannot be read."""
        for row in stored_rows(self._run):
            check_version(row["schema_version"])
            if row["steps"] and (row["verdict"] in verdicts or ANY in verdicts):
                yield self._example(row)

    def _example(self, row: dict[str, Any]) -> dict[str, JsonValue]:
        turn = self._turns.last(row)
        tools = self._style(row["policy"]) == "tools"
        written = Transcript(Prompts(self._prompts(row["policy"])), tools, history_tokens=0)
        thought = (row["timings"].get("reasoning") or ()) if self._reasoning else ()
        said = [*written.head(turn), *chain.from_iterable(written.steps(turn, [text or "" for text in thought]))]
        return example(said, tools_of(setting_of(turn)) if tools else [], _mistakes(row))

    def _style(self, policy: str) -> Form:
        asked = settings_of(self._run.manifest.config, policy).style if is_model(policy) else "text"
        return self._form or ("tools" if asked == "tools" else "text")

    def _prompts(self, policy: str) -> str | None:
        return settings_of(self._run.manifest.config, policy).prompts if is_model(policy) else None


def example(said: Messages, tools: list[Tool], mistakes: Collection[int]) -> dict[str, JsonValue]:
    """One line: it ends with what the model did last, and a step that was a mistake has no weight."""
    messages: list[JsonValue] = json.loads(json.dumps(said[:-1]))
    steps = [message for message in messages if isinstance(message, dict) and message["role"] == "assistant"]
    for number in mistakes:
        steps[number]["weight"] = 0
    offered: JsonValue = json.loads(json.dumps(tools))
    return {"messages": messages, "tools": offered, "parallel_tool_calls": False} if tools else {"messages": messages}


def etl_example(folder: Path, verdicts: Collection[str]) -> Iterator[dict[str, JsonValue]]:
    """The example of a folder that `assay optimize` has left, if its verdict is one of those. Raises BadInput."""
    try:
        verdict = json.loads((folder / "result.json").read_text(encoding="utf-8"))["verdict"]
        said = json.loads((folder / "messages.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadInput(f"{folder} holds no whole episode of assay optimize: {error}") from error
    if verdict in verdicts or ANY in verdicts:
        yield example(said, tools_of("etl"), [])


def _mistakes(row: dict[str, Any]) -> list[int]:
    """The steps, from 0, that were no action."""
    return [number for number, step in enumerate(row["steps"]) if step["malformed_reason"] is not None]
