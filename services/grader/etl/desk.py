"""The process in which one job's bench answers one episode; its owner's end is services.grader.etl.apart.

Invariant: when this process ends, however its owner asked for it or ended itself, nothing that it started runs any
more, and its folder is gone. SIGALRM ends it at any moment.
"""

import ctypes
import resource
import shutil
import signal
import traceback
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Literal

from services.contracts.errors import AssayError, BadInput
from services.contracts.etl import BenchReply, EtlGrade, EtlJob
from services.contracts.record import Record
from services.grader.etl.submission import Submission
from services.grader.runtime.pay import PayRules
from services.grader.runtime.warden import supervise

LONGEST_S = 7 * 86_400.0
"""Seconds after which nobody can still be at the desk."""
_PR_SET_PDEATHSIG = 1


class Setting(Record):
    """What a desk is set up with; `ran` is the rewrite whose output is to lie there."""

    job: EtlJob
    rules: PayRules
    ran: tuple[str, ...] | None


class Question(Record):
    """A call of the bench's method of that name."""

    name: Literal["explain", "analyze", "probe", "run", "verify", "submit"]
    arguments: tuple[str | tuple[str, ...], ...] = ()


class Answer(Record):
    """What the bench said, or nothing where it is only set up; beside a grade lies what it is derived from."""

    reply: BenchReply = BenchReply()
    submission: Submission | None = None


class Failure(Record):
    """Why there is no answer: the job is broken, or the machine. The desk ends with it."""

    job_is_broken: bool
    message: str


def main(channel: int, folder: str) -> None:
    """Keep the desk in a child of this process until it ends by itself or by an alarm; then clear everything away."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGALRM, 0, 0, 0)
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))  # a job has limits of its own
    try:
        supervise(partial(attend, channel), LONGEST_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def attend(channel: int) -> None:
    """Set the bench up, and answer until the owner has closed its end."""
    with Connection(channel) as owner:
        try:
            _serve(owner)
        except EOFError:
            return
        except AssayError as error:
            traceback.print_exc()
            owner.send(Failure(job_is_broken=isinstance(error, BadInput), message=str(error)))


def _serve(owner: "Connection[Any, Any]") -> None:
    from services.grader.etl.bench import Bench
    from services.grader.etl.grading import SubmissionGrader

    setting: Setting = owner.recv()
    with closing(Bench(SubmissionGrader(setting.job, rules=setting.rules))) as bench:
        _ = bench.baseline
        if setting.ran is not None:
            bench.run(setting.ran)
        owner.send(Answer())
        while True:
            question: Question = owner.recv()
            said: BenchReply | EtlGrade = getattr(bench, question.name)(*question.arguments)
            reply = said if isinstance(said, BenchReply) else BenchReply()
            owner.send(Answer(reply=reply, submission=bench.submission))
