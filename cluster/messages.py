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
from cluster.schema import action_of, check_version, task_of
from cluster.tasksets.opening import open_task_set
from services.contracts.actions import Answer
from services.contracts.errors import BadInput
from services.contracts.observation import Observation
from services.contracts.policy import AnalystTurn, AnyTurn
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.episode import episode_of
from services.grader.grader import GoldGrader
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
        self._task_set = open_task_set(run.manifest.task_set, run.manifest.task_set_hash)
        self._grader = GoldGrader.read(self._task_set.gold_path)
        self._catalogs: dict[str, DatabaseCatalog] = {}

    def examples(self, verdicts: Collection[str]) -> Iterator[dict[str, JsonValue]]:
        """An example of each episode with one of the verdicts, or ANY. Raises BadInput for rows that cannot be read."""
        for row in stored_rows(self._run):
            check_version(row["schema_version"])
            if row["steps"] and (row["verdict"] in verdicts or ANY in verdicts):
                yield self._example(row)

    def _example(self, row: dict[str, Any]) -> dict[str, JsonValue]:
        turn = self._turn(row)
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

    def _turn(self, row: dict[str, Any]) -> AnyTurn:
        """The episode as its agent saw it."""
        task = self._task_set.tasks.get(row["task_id"])
        if task is None or task != task_of(row):
            raise BadInput(f"episode {row['episode_id']}: the task {row['task_id']} is not that of the task set")
        if task.database not in self._catalogs:
            self._catalogs[task.database] = self._task_set.catalog(task.database)
        limits = self._run.manifest.config.limits
        turn = episode_of(task, self._catalogs[task.database], self._grader, 0, limits).turn(0)
        for number, step in enumerate(row["steps"], 1):
            turn = _then(turn, number, step)
        return turn


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


def _then(turn: AnyTurn, number: int, step: dict[str, Any]) -> AnyTurn:
    action = action_of(step)
    if isinstance(turn, AnalystTurn):
        rows = json.loads(step["result"]) if step["result"] else []
        seen = turn.first.model_copy(update={"last_result": rows, "error_message": step["error"] or None})
        return turn.then(action, seen)
    left = turn.observation.budget_remaining - (not isinstance(action, Answer))
    shown: Observation = turn.first.model_copy(
        update={
            "result": step["result"],
            "error": step["error"],
            "step_count": number,
            "budget_remaining": max(0, left),
        }
    )
    return turn.then(action, shown)
