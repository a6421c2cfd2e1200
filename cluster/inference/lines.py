"""The lines that inference.py writes, in either format: one line each, text JSON-quoted, rewards with two decimals."""

import json
from typing import Literal, Protocol

from services.contracts.actions import argument_of
from services.contracts.record import Record
from services.contracts.tasks import Difficulty
from services.contracts.trajectory import Step

LogFormat = Literal["assay", "openenv"]


class Named(Record):
    """A task as its first line names it."""

    task_id: str
    difficulty: Difficulty


class Ended(Record):
    """How one task ended."""

    steps: tuple[Step, ...]
    reward: float
    score: float
    solved: bool


class Log(Protocol):
    """The lines of one format."""

    def start(self, task: Named) -> str:
        """The first line of a task."""
        ...

    def step(self, number: int, step: Step, done: bool) -> str:
        """A step's line; numbers begin with 1."""
        ...

    def end(self, ended: Ended) -> str:
        """The last line of a task."""
        ...


class AssayLog:
    """The fields that sql-data-analyst-prd §6 asks for."""

    def start(self, task: Named) -> str:
        """The first line of a task."""
        name = task.task_id.replace("_", " ").title()
        return f"[START] task_id={task.task_id} task_name={_quoted(name)} difficulty={task.difficulty}"

    def step(self, number: int, step: Step, done: bool) -> str:
        """A step's line."""
        action = _quoted(argument_of(step.action))
        return f"[STEP] step_count={number} action={action} reward={_figure(step.reward)} done={_flag(done)}"

    def end(self, ended: Ended) -> str:
        """The last line of a task."""
        total = len(ended.steps)
        return f"[END] total_steps={total} final_reward={_figure(ended.reward)} task_score={_figure(ended.score)}"


class OpenEnvLog:
    """The lines of OpenEnv's sample script."""

    def __init__(self, model: str) -> None:
        self._model = model if model.isascii() and model.isprintable() and " " not in model else _quoted(model)

    def start(self, task: Named) -> str:
        """The first line of a task."""
        return f"[START] task={task.task_id} env=analyst model={self._model}"

    def step(self, number: int, step: Step, done: bool) -> str:
        """A step's line."""
        error = _quoted(step.error) if step.error else "null"
        action = _quoted(argument_of(step.action))
        return f"[STEP] step={number} action={action} reward={_figure(step.reward)} done={_flag(done)} error={error}"

    def end(self, ended: Ended) -> str:
        """The last line of a task."""
        rewards = ",".join(_figure(step.reward) for step in ended.steps)
        told = f"success={_flag(ended.solved)} steps={len(ended.steps)} score={_figure(ended.score)}"
        return f"[END] {told} rewards={rewards}"


def log_of(form: LogFormat, model: str) -> Log:
    """The lines of that format."""
    return AssayLog() if form == "assay" else OpenEnvLog(model)


def _quoted(text: str) -> str:
    """ASCII only, so that no character of the text can end the line."""
    return json.dumps(text)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _figure(value: float) -> str:
    """Two decimals; nothing is -0.00."""
    return f"{round(value, 2) + 0.0:.2f}"
