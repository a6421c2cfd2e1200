"""When a task ran in production and for how long, from the JSON of `databricks runs list` or `jobs list-runs`.

Times there are milliseconds since 1970, durations milliseconds; a run counts only if it succeeded.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.etl.timeline import written_out
from services.contracts.errors import BadInput
from services.contracts.etl import ProductionRun


class _Said(BaseModel):
    """A part of the JSON; the keys that are not needed are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RunState(_Said):
    """How a run ended."""

    result_state: str | None = None


class RunPart(_Said):
    """A task of a run, or a run of one task."""

    task_key: str | None = None
    start_time: int
    execution_duration: int = 0
    run_duration: int = 0
    state: RunState = RunState()

    def as_run(self) -> ProductionRun:
        """In seconds. A run of several tasks says its duration as `run_duration`."""
        duration = self.execution_duration or self.run_duration
        return ProductionRun(started_at=written_out(self.start_time), duration_s=duration / 1000)


class JobRun(RunPart):
    """One run of a job."""

    tasks: tuple[RunPart, ...] = ()


class RunList(_Said):
    """What the list holds."""

    runs: tuple[JobRun, ...] = ()


def read_runs(path: Path, task_key: str, alone: bool = True) -> tuple[ProductionRun, ...]:
    """The successful runs of a task, the earliest first; `alone` if its job has no other. Raises BadInput."""
    try:
        tree: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the run history {path}: {getattr(error, 'strerror', None) or error}") from error
    return parse_runs(tree, task_key, str(path), alone)


def parse_runs(tree: Any, task_key: str, where: str, alone: bool = True) -> tuple[ProductionRun, ...]:
    """The successful runs of a task in a list of runs, or in an object that has one under `runs`. Raises BadInput."""
    try:
        listed = RunList.model_validate({"runs": tree} if isinstance(tree, list) else tree)
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadInput(f"{where}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error
    if not alone and any(not run.tasks for run in listed.runs):
        raise BadInput(f"{where}: a run does not say how long its task {task_key} took: list the runs with their tasks")
    found = [part.as_run() for run in listed.runs for part in _parts(run, task_key, where)]
    return tuple(sorted((run for run in found if run.duration_s > 0), key=lambda run: run.started_at))


def _parts(run: JobRun, task_key: str, where: str) -> Iterator[RunPart]:
    """The task's part of a run. Where the tasks are not listed, the run's own time stands for its only task."""
    if not run.tasks:
        yield from [run] if run.state.result_state == "SUCCESS" else []
        return
    for part in run.tasks:
        if part.task_key == task_key and part.state.result_state == "SUCCESS":
            yield part
