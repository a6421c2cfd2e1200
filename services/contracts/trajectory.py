"""The record of an episode: everything that is needed to derive its reward again."""

import hashlib
from functools import cached_property
from typing import Literal

from pydantic import Field

from services.contracts.actions import Action
from services.contracts.grading import Components, Verdict, Verification
from services.contracts.record import Record
from services.contracts.statements import StatementOutcome
from services.contracts.tasks import Task
from services.contracts.trials import TrialNote

TruncationReason = Literal["budget", "deadline"]


class EpisodeSpec(Record):
    """One planned attempt. The id is a function of what is played, so that a retry overwrites and never doubles."""

    run_id: str
    task_set_hash: str
    task_id: str
    policy: str
    seed: int = Field(ge=0)
    sample_index: int = Field(ge=0)

    @cached_property
    def episode_id(self) -> str:
        """20 hex digits over task set, task, policy, seed and sample."""
        parts = (self.task_set_hash, self.task_id, self.policy, str(self.seed), str(self.sample_index))
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:20]

    @property
    def group_id(self) -> str:
        """Shared by the samples of one task under one policy (a GRPO group)."""
        parts = (self.task_set_hash, self.task_id, self.policy, str(self.seed))
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]

    def episode_seed(self) -> int:
        """The seed of this episode alone: tables are sampled and random policies drawn by it."""
        return int(self.episode_id[:15], 16)


class StepTiming(Record):
    """Milliseconds of wall time, tokens, cost and a model's own words; all of a step that differs in two equal runs."""

    policy_ms: float
    sandbox_ms: float
    cached: bool
    prompt_tokens: int | None = Field(default=None, description="as the model's server counts; None: it does not say")
    completion_tokens: int | None = None
    usd: float | None = Field(default=None, description="US dollars at the run's price; None: no price, or no tokens")
    reasoning: str = Field(default="", description="what the model said beside its action")


class Step(Record):
    """An action, what came of it, and what it earned."""

    action: Action
    result: str
    error: str
    outcome: StatementOutcome | None = Field(description="of a statement; what progress and score are derived from")
    components: Components
    reward: float = Field(description="what the components come to, under the environment's clamp if it has one")
    score: float | None = Field(default=None, description="the grader's, of a statement that ran; analyst only")
    trials: tuple[TrialNote, ...] | None = Field(default=None, description="what the score was taken on; analyst only")


class Fault(Record):
    """Broken infrastructure: which episode, what happened, after how many attempts."""

    kind: str
    message: str
    attempts: int


class Trajectory(Record):
    """A whole episode. A faulted one is ungraded: its reward is None, never 0."""

    spec: EpisodeSpec
    task: Task
    steps: tuple[Step, ...]
    timings: tuple[StepTiming, ...]
    terminated: bool
    truncation: TruncationReason | None
    fault: Fault | None
    verdict: Verdict
    reward: float | None
    started_at: float = Field(description="seconds since the epoch")
    wall_ms: float
    attempts: int = 1
    verification: Verification | None = Field(default=None, description="of an answer that variants were asked about")

    @property
    def truncated(self) -> bool:
        """A limit ended the episode."""
        return self.truncation is not None
