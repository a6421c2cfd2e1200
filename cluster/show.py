"""One stored episode, readable in a terminal."""

from itertools import zip_longest
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from cluster.schema import step_of, task_of
from services.contracts.actions import render_action
from services.contracts.trajectory import Step


def episode_view(row: dict[str, Any]) -> RenderableType:
    """The question, each step with what a model thought, what it showed and earned, and the end."""
    task = task_of(row)
    head = Text(f"{row['episode_id']}  {row['policy']}  {task.task_id}  {task.database}  {task.difficulty}\n")
    head.append(task.question, style="bold")
    thought = row["timings"].get("reasoning") or ()
    steps = [
        _step_view(index, step_of(step), text or "")
        for index, (step, text) in enumerate(zip_longest(row["steps"], thought), 1)
    ]
    return Group(Panel(head), *steps, Text(_ending(row), style="bold"))


def _step_view(index: int, step: Step, thought: str) -> Panel:
    said = ", ".join(f"{name} {value:+.3f}" for name, value in step.components if value)
    score = "" if step.score is None else f"  score {step.score:.2f}"
    body = Text(f"{thought}\n" if thought else "", style="dim")
    body.append(render_action(step.action) + "\n", style="cyan")
    body.append(step.error, style="red") if step.error else body.append(step.result, style="default")
    return Panel(body, title=f"step {index}", title_align="left", subtitle=f"{step.reward:+.3f}  ({said}){score}")


def _ending(row: dict[str, Any]) -> str:
    if row["fault_kind"] is not None:
        return f"fault, ungraded: {row['fault_kind']}: {row['fault_message']}"
    truncated = f", truncated by {row['truncation']}" if row["truncation"] else ""
    return f"{row['verdict']}, reward {row['reward']:+.3f} in {row['step_count']} steps{truncated}"
