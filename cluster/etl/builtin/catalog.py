"""All built-in jobs, by name."""

from collections.abc import Mapping
from types import ModuleType

from cluster.etl.builtin import deriving, increment, paying, traps
from cluster.etl.builtin.domain import JobSpec
from services.contracts.errors import BadInput


def _specs(module: ModuleType) -> tuple[JobSpec, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, JobSpec))


PAYING: tuple[JobSpec, ...] = (*_specs(paying), *_specs(deriving), *_specs(increment))
TRAPS: tuple[JobSpec, ...] = _specs(traps)
JOBS: Mapping[str, JobSpec] = {spec.task_key: spec for spec in (*PAYING, *TRAPS)}


def job_spec(task_key: str) -> JobSpec:
    """The built-in job of that name. Raises BadInput with the names that there are."""
    if task_key not in JOBS:
        raise BadInput(f"there is no built-in job {task_key}; there are {', '.join(JOBS)}")
    return JOBS[task_key]
