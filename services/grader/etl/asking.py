"""Starts the process that judges statements and answers questions, and reads what it says.

Such work is not timed, so it claims no core. A process that a signal from outside ends is a TimingFault.
"""

import itertools
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.runtime.cores import Core, physical_cores
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.job import Job
from services.grader.runtime.launch import launch
from services.grader.runtime.running import GRACE_S, order_of, own_folder

WORKER = "services.grader.etl.worker"
JUDGING_S = 20.0
"""Seconds in which statements are judged."""
JUDGING_MB = 1024
_ROUND = itertools.count()


class Scope(Record):
    """What the write guard must know of a job (services.grader.etl.writeguard.Scope)."""

    job_id: str
    tables: dict[str, tuple[str, ...]]
    output: str
    stored: str
    exists: bool
    recreate: bool


class Refused(Record):
    """The write guard did not let the statements through."""

    reason: str
    message: str


class Judgement(Record):
    """Statements as they may run."""

    sql: tuple[str, ...]
    volatile: bool = Field(description="the result of one may differ from run to run")


class Shown(Record):
    """The answer to a question: a plan, or the first rows with their values cut."""

    plan: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()
    more: bool = False
    bytes_read: int = 0
    cpu_s: float = 0.0


class Halted(Record):
    """A question that did not end by itself: `limit` is the limit that was hit, or empty for an engine's error."""

    message: str
    limit: str = ""


def shared_core() -> Core:
    """A core for work that is not timed, taken in turn: nobody holds it."""
    cores = physical_cores()
    return Core(cores[next(_ROUND) % len(cores)], socket.socket(socket.AF_UNIX))


def judge_apart(scope: Scope, statements: Sequence[str]) -> Judgement | Refused:
    """Whether a rewrite may run, and as what, found out in a process of its own. Raises TimingFault."""
    job = Job(statements=("SELECT 1",))
    limits = job.limits.model_copy(update={"deadline_s": JUDGING_S, "memory_mb": JUDGING_MB})
    asked = {"scope": scope.model_dump(mode="json"), "query": "", "statements": list(statements)}
    said = _launched(job.model_copy(update={"limits": limits}), asked)
    if isinstance(said, Halted):
        return Refused(reason="too_long", message="the statements cannot be read in the time and memory there is")
    if "refused" in said:
        return Refused.model_validate(said["refused"])
    judged = said["judged"]
    return Judgement(
        sql=tuple(sql for one in judged for sql in one["sql"]), volatile=any(one["volatile"] for one in judged)
    )


def ask(job: Job, scope: Scope, query: str, how: str, rows: int) -> Shown | Refused | Halted:
    """Answer a query over the job's sources; `how` are the options of an EXPLAIN, or empty for rows.

    Raises TimingFault, and BadInput where the sources cannot be read.
    """
    about = {"scope": scope.model_dump(mode="json"), "query": query, "how": how, "rows": rows}
    said = _launched(job, {**about, "characters": rows * 400, "profile": True})
    if isinstance(said, Halted):
        return said
    if "refused" in said:
        return Refused.model_validate(said["refused"])
    if "unready" in said:
        raise BadInput(f"the job cannot be set up: {said['unready']}")
    if said.get("stopped") == "disk":
        raise TimingFault(f"the disk is full: {said['message']}")
    if "stopped" in said:
        stop = said["stopped"]
        return Halted(message=said["message"], limit="" if stop == "sql_error" else stop)
    start, shown = said["start"], dict(said["shown"])
    end = shown.pop("end")
    return Shown(**shown, cpu_s=sum(end[key] - start[key] for key in ("user_s", "system_s")))


def _launched(job: Job, more: Mapping[str, object]) -> dict[str, Any] | Halted:
    """The messages of one process. Raises TimingFault."""
    with shared_core() as core, own_folder() as folder:
        order = {**order_of(job, core, folder), "profile": False, **more}
        said = launch(order, core, folder, job.limits.deadline_s + GRACE_S, WORKER)
    watched = said["watched"]
    match watched["end"]:
        case "paused" | "killed":
            raise TimingFault(f"the process of a question was {watched['end']} by signal {watched['status']}")
        case "deadline":
            return Halted(message=f"it took more than {job.limits.deadline_s:g} s", limit="deadline")
        case "crashed":
            return Halted(message=f"the engine ended with signal {watched['status']}", limit="crash")
    if watched["status"]:
        raise RuntimeError(f"the process of a question ended with status {watched['status']}; its stderr says why")
    return said
