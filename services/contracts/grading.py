"""The words of a grade, and what an environment may ask of a grader. Gold never crosses this seam."""

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import Field

from services.contracts.record import Record
from services.contracts.statements import ResultTable, StatementOutcome
from services.contracts.tasks import Environment, Task
from services.contracts.trials import Trial, TrialOrder

AnswerVerdict = Literal["correct", "correct_on_base_only", "unsupported", "incorrect"]
Verdict = Literal[
    "correct", "correct_on_base_only", "unsupported", "incorrect", "no_submission", "invalid_sql",
    "resource_exceeded", "violation", "ungraded",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = (
    "correct", "correct_on_base_only", "unsupported", "incorrect", "no_submission", "invalid_sql",
    "resource_exceeded", "violation", "ungraded",
)  # fmt: skip
VerificationMode = Literal["base", "variants"]


class RewardComponents(Record):
    """What one step earned, before the running clamp (sqlenv-v1-spec §3.1–3.3)."""

    exec_ok: float = 0.0
    new_info: float = 0.0
    repeat: float = 0.0
    cost: float = 0.0
    progress: float = 0.0
    correctness: float = 0.0
    structure: float = 0.0

    def shaping(self) -> float:
        """The part under the clamp: everything but correctness."""
        return self.exec_ok + self.new_info + self.repeat + self.cost + self.progress + self.structure


class Verification(Record):
    """What came of holding an answer against the variants of its database. A regrade derives it again by replaying."""

    verdict: AnswerVerdict
    support: str = Field(default="", description="how the answer follows from which steps, in words")
    variants: int = Field(default=0, description="how many variants the support was replayed on")
    failed_on: tuple[str, ...] = Field(
        default=(), description="variants where the nearest support gives another answer"
    )
    limits: tuple[str, ...] = Field(default=(), description="limits that replays ran into; taken as given by a regrade")


class Found(Record):
    """A statement of the agent's own that gave rows, and those rows."""

    step: int = Field(description="from 1")
    sql: str
    result: ResultTable


class AnalystComponents(Record):
    """What one step of the analyst earned (sql-data-analyst-prd §5); nothing is clamped."""

    improvement: float = 0.0
    completion: float = 0.0
    invalid: float = 0.0
    efficiency: float = 0.0

    def total(self) -> float:
        """The reward of the step."""
        return self.improvement + self.completion + self.invalid + self.efficiency


Components = RewardComponents | AnalystComponents
COMPONENTS: tuple[str, ...] = tuple(RewardComponents.model_fields)
ANALYST_COMPONENTS: tuple[str, ...] = tuple(AnalystComponents.model_fields)
COMPONENTS_OF: dict[Environment, tuple[str, ...]] = {"explore": COMPONENTS, "analyst": ANALYST_COMPONENTS}
ALL_COMPONENTS: tuple[str, ...] = tuple(name for names in COMPONENTS_OF.values() for name in names)


class AnswerVerifier(Protocol):
    """Judges an answer by the queries that it came from, on the database and on variants of it."""

    async def verify(self, task: Task, answer: str, found: Sequence[Found]) -> Verification:
        """Whether the answer is right and follows from what was found. Raises SandboxFault."""
        ...


class AnswerGrader(Protocol):
    """Judges the answers and results of one task set; it alone knows the gold."""

    def is_correct(self, task_id: str, answer: str) -> bool:
        """Whether a submitted answer equals the gold (§3.3, §4.2)."""
        ...

    def progress(self, task_id: str, result: ResultTable) -> float:
        """How near a result is to the gold, in [0, 1], not yet binned (§3.2)."""
        ...

    def likeness(self, task_id: str, sql: str) -> float:
        """How far a statement reads, joins and aggregates what the gold does, in [0, 1] (§6.6)."""
        ...


class QueryGrader(Protocol):
    """Scores statements by what they compute: on the database that the agent sees, and on copies that it never does."""

    def orders(self, task_id: str, sql: str, outcome: StatementOutcome) -> tuple[TrialOrder, ...]:
        """What has to be tried before the statement can be scored; nothing for one that its outcome rules out."""
        ...

    def score(self, task_id: str, sql: str, outcome: StatementOutcome, trials: Sequence[Trial]) -> float:
        """The score in [0, 1], from the outcome and one trial for each order. Raises BadInput."""
        ...


class Grader(AnswerGrader, QueryGrader, Protocol):
    """The grader of a task set, whatever environments its tasks are for."""
