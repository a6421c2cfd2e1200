"""A grader and a verifier that say how long they take; their judgements are those of what they hold."""

import time
from collections.abc import Sequence
from pathlib import Path

from cluster.load_metrics import GRADING
from cluster.verifying import verifier_for
from services.contracts.grading import AnswerGrader, AnswerVerifier, Found, Grader, Verification
from services.contracts.statements import ResultTable, StatementOutcome
from services.contracts.tasks import Task
from services.contracts.trials import Trial, TrialOrder
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.pool import SandboxPool


class TimedGrader:
    """Protocol: services.contracts.grading.Grader."""

    def __init__(self, grader: Grader) -> None:
        self._grader = grader
        self._answer, self._progress, self._score = (GRADING[call].add for call in ("answer", "progress", "score"))

    @classmethod
    def read(cls, path: Path) -> "TimedGrader":
        """The grader of a gold.jsonl. Raises BadInput."""
        return cls(GoldGrader.read(path))

    def is_correct(self, task_id: str, answer: str) -> bool:
        """Whether a submitted answer equals the gold."""
        started = time.perf_counter()
        found = self._grader.is_correct(task_id, answer)
        self._answer(started)
        return found

    def progress(self, task_id: str, result: ResultTable) -> float:
        """How near a result is to the gold, in [0, 1]."""
        started = time.perf_counter()
        found = self._grader.progress(task_id, result)
        self._progress(started)
        return found

    def likeness(self, task_id: str, sql: str) -> float:
        """How far a statement reads, joins and aggregates what the gold does, in [0, 1]."""
        return self._grader.likeness(task_id, sql)

    def orders(self, task_id: str, sql: str, outcome: StatementOutcome) -> tuple[TrialOrder, ...]:
        """What has to be tried before the statement can be scored."""
        return self._grader.orders(task_id, sql, outcome)

    def score(self, task_id: str, sql: str, outcome: StatementOutcome, trials: Sequence[Trial]) -> float:
        """The score in [0, 1]. Raises BadInput."""
        started = time.perf_counter()
        found = self._grader.score(task_id, sql, outcome, trials)
        self._score(started)
        return found


class TimedVerifier:
    """Protocol: services.contracts.grading.AnswerVerifier. Its statements are timed with it."""

    def __init__(self, verifier: AnswerVerifier) -> None:
        self._verifier = verifier
        self._add = GRADING["verify"].add

    async def verify(self, task: Task, answer: str, found: Sequence[Found]) -> Verification:
        """Whether the answer is right and follows from what was found. Raises SandboxFault."""
        started = time.perf_counter()
        verification = await self._verifier.verify(task, answer, found)
        self._add(started)
        return verification


def timed_verifier_for(task_set: TaskSet, grader: AnswerGrader, sandbox: SandboxPool) -> AnswerVerifier | None:
    """The verifier of a task set; None if it has no variants. Raises BadInput."""
    verifier = verifier_for(task_set, grader, sandbox)
    return None if verifier is None else TimedVerifier(verifier)
