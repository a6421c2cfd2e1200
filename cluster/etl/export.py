"""A job as `databricks jobs get` writes it, and one task of it as a task to be pinned.

Invariant: a kind of task that cannot be read as SQL is refused by name.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.contracts.errors import BadInput


class _Said(BaseModel):
    """A part of the JSON; the keys that are not needed are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Dependency(_Said):
    """A task that has to be over first."""

    task_key: str


class NotebookTask(_Said):
    """A notebook of the workspace and the values of its widgets."""

    notebook_path: str
    base_parameters: dict[str, str] = {}


class SqlFile(_Said):
    """A SQL file of the workspace."""

    path: str


class SqlTask(_Said):
    """A SQL file and the values of its parameters; a saved query or a dashboard has none."""

    file: SqlFile | None = None
    parameters: dict[str, str] = {}


class JobTask(_Said):
    """One task."""

    task_key: str
    depends_on: tuple[Dependency, ...] = ()
    notebook_task: NotebookTask | None = None
    sql_task: SqlTask | None = None

    @property
    def source(self) -> str:
        """The path of the notebook or file. Raises BadInput for a task without one."""
        if self.notebook_task is not None:
            return self.notebook_task.notebook_path
        if self.sql_task is not None and self.sql_task.file is not None:
            return self.sql_task.file.path
        raise BadInput(f"task {self.task_key} is neither a notebook nor a SQL file: only those are read")


class JobParameter(_Said):
    """A parameter that every task of the job gets."""

    name: str
    default: str = ""


class JobSettings(_Said):
    """What a job is made of."""

    name: str = ""
    tasks: tuple[JobTask, ...] = Field(min_length=1)
    parameters: tuple[JobParameter, ...] = ()


class JobExport(_Said):
    """A job."""

    job_id: str
    settings: JobSettings

    @field_validator("job_id", mode="before")
    @classmethod
    def _number_is_a_name(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def task(self, task_key: str | None) -> JobTask:
        """The task of that key, or the only one. Raises BadInput with the nearest key."""
        keys = [task.task_key for task in self.settings.tasks]
        if task_key is None and len(keys) == 1:
            return self.settings.tasks[0]
        for task in self.settings.tasks:
            if task.task_key == task_key:
                return task
        near = difflib.get_close_matches(task_key or "", keys, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(keys)}"
        asked = f"job {self.job_id} has no task {task_key}" if task_key else f"say which task of job {self.job_id}"
        raise BadInput(f"{asked}; {hint}")

    def parameters_of(self, task: JobTask, given: Mapping[str, str]) -> dict[str, str]:
        """The values of a task's parameters: the job's, then the task's own, then those that are given."""
        found = {parameter.name: parameter.default for parameter in self.settings.parameters}
        if task.notebook_task is not None:
            found |= task.notebook_task.base_parameters
        if task.sql_task is not None:
            found |= task.sql_task.parameters
        return {name: _plain(name, value) for name, value in (found | dict(given)).items() if name in given or value}


def _plain(name: str, value: str) -> str:
    """A value that the platform fills in when a run starts is not known here."""
    if "{{" in value:
        raise BadInput(f"the parameter {name} is {value}, which is known only in a run: give its value")
    return value


def parse_job(tree: Any, where: str) -> JobExport:
    """The job in the JSON of an export. Raises BadInput."""
    try:
        job = JobExport.model_validate(tree)
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadInput(f"{where}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error
    keys = [task.task_key for task in job.settings.tasks]
    for task in job.settings.tasks:
        if keys.count(task.task_key) > 1:
            raise BadInput(f"{where}: two tasks have the key {task.task_key}")
        for dependency in task.depends_on:
            if dependency.task_key not in keys:
                raise BadInput(
                    f"{where}: {task.task_key} depends on {dependency.task_key}, which is no task of the job"
                )
    return job
