"""The words of a grade, and what an environment may ask of a grader. Gold never crosses this seam."""

from typing import Literal, Protocol

from services.contracts.record import Record
from services.contracts.statements import ResultTable

Verdict = Literal["correct", "incorrect", "no_submission", "invalid_sql", "resource_exceeded", "violation", "ungraded"]
VERDICTS: tuple[Verdict, ...] = (
    "correct", "incorrect", "no_submission", "invalid_sql", "resource_exceeded", "violation", "ungraded",
)  # fmt: skip


class RewardComponents(Record):
    """What one step earned, before the running clamp (sqlenv-v1-spec §3.1–3.3)."""

    exec_ok: float = 0.0
    new_info: float = 0.0
    repeat: float = 0.0
    cost: float = 0.0
    progress: float = 0.0
    correctness: float = 0.0

    def shaping(self) -> float:
        """The part under the clamp: everything but correctness."""
        return self.exec_ok + self.new_info + self.repeat + self.cost + self.progress


COMPONENTS: tuple[str, ...] = tuple(RewardComponents.model_fields)


class AnswerGrader(Protocol):
    """Judges the answers and results of one task set; it alone knows the gold."""

    def is_correct(self, task_id: str, answer: str) -> bool:
        """Whether a submitted answer equals the gold (§3.3, §4.2)."""
        ...

    def progress(self, task_id: str, result: ResultTable) -> float:
        """How near a result is to the gold, in [0, 1], not yet binned (§3.2)."""
        ...
