"""Production's output before and after the run: which versions, or which files.

Invariant: the two bound one run of this job; a version that another job committed in between is bad input.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cluster.etl.catalog import Found, Resolution, find_delta, find_parquet
from cluster.etl.delta import is_delta
from cluster.etl.task import TaskSpec
from cluster.etl.timeline import Commit, commits_of, parse_time, version_at, written_out
from services.contracts.errors import BadInput
from services.contracts.etl import Mode


@dataclass(frozen=True)
class Boundary:
    """The output as the run found it (None if it made it) and as it left it."""

    before: Found | None
    after: Found


def find_boundary(task: TaskSpec, name: str, mode: Mode, as_of: datetime | None) -> Boundary:
    """Pin production's output. Raises BadInput where nothing says what it was, or its columns have changed."""
    path = task.output.path
    if path is None:
        raise BadInput("output.path: say where production's output lies")
    if not path.exists():
        raise BadInput(f"output.path: there is nothing at {path}")
    found = _delta(task, name, mode, as_of, path) if is_delta(path) else _parquet(task, name, mode, path)
    if found.before is not None and found.before.table.columns != found.after.table.columns:
        raise BadInput(f"{name}: production's run changed its columns, so its rows from before have no place in it")
    return found


def _parquet(task: TaskSpec, name: str, mode: Mode, path: Path) -> Boundary:
    before = task.output.before
    if task.output.version is not None or isinstance(before, int):
        raise BadInput(f"output: {path} is no Delta table, so it has no versions")
    after = find_parquet(name, path)
    if mode == "create":
        return Boundary(None, after)
    if before is None:
        raise BadInput(f"output.before: {mode} changes what was there: say where the files from before the run lie")
    if not before.exists():
        raise BadInput(f"output.before: there is nothing at {before}")
    return Boundary(find_parquet(name, before), after)


def _delta(task: TaskSpec, name: str, mode: Mode, as_of: datetime | None, path: Path) -> Boundary:
    if isinstance(task.output.before, Path):
        raise BadInput(f"output.before: {path} is a Delta table: give the version from before the run")
    if task.output.version is None:
        first, last = _by_time(task, name, mode, as_of, path)
    else:
        last = Resolution(table=name, version=task.output.version, asked_for=None, committed_at=None)
        first = last.model_copy(update={"version": last.version - 1})
    after = find_delta(name, path, last)
    if mode == "create":
        return Boundary(None, after)
    if task.output.before is not None:
        first = Resolution(table=name, version=task.output.before, asked_for=None, committed_at=None)
    if not 0 <= first.version < last.version:
        raise BadInput(f"output.before: {mode} needs a version before {last.version}, and {first.version} is none")
    return Boundary(find_delta(name, path, first), after)


def _by_time(
    task: TaskSpec, name: str, mode: Mode, as_of: datetime | None, path: Path
) -> tuple[Resolution, Resolution]:
    """The last version before the run's start and the last at its end, by the history's duration of that run."""
    if as_of is None:
        raise BadInput("output.version: say which version the run made, or give started_at and the history")
    end = as_of + timedelta(seconds=_duration(task, as_of))
    commits = commits_of(path, name)
    last = version_at(commits, end, name)
    made_by_run = mode == "create" and last.version == commits[0].version
    first = commits[0] if made_by_run else version_at(commits, as_of, name)
    if first.version == last.version and not made_by_run:
        raise BadInput(f"{name}: no version was committed between {as_of.isoformat()} and {end.isoformat()}")
    _refuse_others(commits, first, last, task.job_id, name)
    return _resolution(name, first, as_of), _resolution(name, last, end)


def _duration(task: TaskSpec, as_of: datetime) -> float:
    for run in task.history:
        if parse_time(run.started_at, "history.started_at") == as_of:
            return run.duration_s
    raise BadInput("output.version: say which version the run made, for no run of the history began at started_at")


def _refuse_others(commits: tuple[Commit, ...], first: Commit, last: Commit, job_id: str, name: str) -> None:
    for commit in commits:
        if first.version < commit.version <= last.version and commit.job_id not in (None, job_id):
            raise BadInput(
                f"{name}: version {commit.version} of the run's time is of job {commit.job_id}, not {job_id}"
            )


def _resolution(name: str, commit: Commit, time: datetime) -> Resolution:
    asked = time.isoformat()
    return Resolution(table=name, version=commit.version, asked_for=asked, committed_at=written_out(commit.at_ms))
