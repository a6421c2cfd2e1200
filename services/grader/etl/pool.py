"""Submissions graded on Ray: one actor a job, on a timing slot of its own, with copies that no agent's process sees.

Invariant: an actor that dies is replaced and the submission graded anew; one that ends ATTEMPTS of them is a fault.
The pinned files must be there on the node of the actor.
"""

from contextlib import closing
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from services.contracts.errors import AssayError, Infrastructure
from services.contracts.etl import EtlJob
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.submission import Submission
from services.grader.runtime.pay import PayRules
from services.grader.runtime.slots import SLOT

ATTEMPTS = 3


class SubmissionWorker:
    """Grades the submissions of one job; plainly in process, or as an actor."""

    def __init__(self, job: EtlJob, rules: PayRules) -> None:
        self._job = job
        self._rules = rules

    def grade(self, statements: tuple[str, ...]) -> Submission:
        """Everything that the submission was judged by. Raises Infrastructure, BadInput."""
        with closing(SubmissionGrader(self._job, rules=self._rules)) as grader:
            return grader.grade(statements)


class WorkerEnded(Exception):
    """An actor's process ended in the middle of a submission."""


def grade_on_ray(job: EtlJob, statements: tuple[str, ...], rules: PayRules, slot: bool = True) -> Submission:
    """Grade a submission on the cluster that is joined; with `slot` on a node that has a timing slot free.

    Raises BadInput as the grader does, and Infrastructure for a fault.
    """
    tries = Retrying(stop=stop_after_attempt(ATTEMPTS), retry=retry_if_exception_type(WorkerEnded), reraise=True)
    try:
        return tries(_attempt, job, statements, rules, slot)
    except WorkerEnded as error:
        raise Infrastructure(f"a submission ended its worker {ATTEMPTS} times: {error}") from error


def _attempt(job: EtlJob, statements: tuple[str, ...], rules: PayRules, slot: bool) -> Submission:
    worker = RemoteSubmissionWorker.options(resources={SLOT: 1} if slot else {}).remote(job, rules)
    try:
        found: Submission = ray.get(worker.grade.remote(statements))
    except RayTaskError as error:
        cause: Any = error.cause
        raise (cause if isinstance(cause, AssayError) else error) from error
    except RayActorError as error:
        raise WorkerEnded(str(error).splitlines()[0]) from error
    finally:
        ray.kill(worker)
    return found


RemoteSubmissionWorker: Any = ray.remote(num_cpus=1, max_restarts=0)(SubmissionWorker)
