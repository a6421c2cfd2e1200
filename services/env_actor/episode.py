"""What every environment's episode is to those who drive it, and which one a task has.

A driver asks for the statement of an action, runs it in `sandbox_of` the task, and applies the action with its outcome.
"""

from typing import Protocol, assert_never

from services.contracts.actions import Action
from services.contracts.grading import Grader, Verdict
from services.contracts.observation import AnyObservation
from services.contracts.policy import AnyTurn
from services.contracts.statements import StatementOutcome
from services.contracts.tasks import EpisodeLimits, Task
from services.contracts.trajectory import Step, TruncationReason
from services.contracts.trials import Tried
from services.env_actor.analyst.episode import AnalystEpisode
from services.env_actor.analyst.trials import TrialGround, TrialSandbox
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.explore import ExploreEpisode


class Sandbox(Protocol):
    """Runs one statement on one database. Raises SandboxFault."""

    async def run(self, database: str, sql: str) -> tuple[StatementOutcome | Tried, float | None]:
        """The outcome of the statement, and the seconds that it ran; None if it was known already."""
        ...


class Episode(Protocol):
    """One attempt at a task. It does no I/O."""

    steps: list[Step]
    terminated: bool
    truncation: TruncationReason | None

    @property
    def over(self) -> bool:
        """No further action is taken."""
        ...

    def reset(self) -> AnyObservation:
        """The first observation."""
        ...

    def turn(self, seed: int) -> AnyTurn:
        """The first decision that a policy has to take."""
        ...

    def statement(self, action: Action) -> str | None:
        """The SQL that must be run before `apply`, if the action has any."""
        ...

    def apply(self, action: Action, outcome: StatementOutcome | Tried | None = None) -> AnyObservation:
        """Take one action; `outcome` is that of `statement(action)`. Returns what the agent sees next."""
        ...

    def truncate(self, reason: TruncationReason) -> None:
        """End the episode at a limit; what was earned stays."""
        ...

    def verdict(self) -> Verdict:
        """The verdict of an episode that is over."""
        ...

    def reward(self) -> float:
        """The sum of the rewards paid."""
        ...


def episode_of(task: Task, catalog: DatabaseCatalog, grader: Grader, seed: int, limits: EpisodeLimits) -> Episode:
    """A new episode of the task's environment."""
    match task.environment:
        case "explore":
            return ExploreEpisode(task, catalog, grader, seed, limits.budget, limits.structure)
        case "analyst":
            return AnalystEpisode(task, catalog, grader, limits.budget)
        case _:
            assert_never(task.environment)


def sandbox_of(task: Task, ground: TrialGround, grader: Grader) -> Sandbox:
    """Where the task's statements run."""
    match task.environment:
        case "explore":
            return ground
        case "analyst":
            return TrialSandbox(ground, grader, task.task_id)
        case _:
            assert_never(task.environment)
