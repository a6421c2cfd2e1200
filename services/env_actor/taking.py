"""Takes the actions of one episode, whoever drives it: runs the statement, has the answer verified, keeps the deadline.

Invariant: every driver pays by the same rule, and an action of which a part of the machine failed was not taken.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from services.contracts.actions import Action, Answer
from services.contracts.grading import AnswerGrader, AnswerVerifier
from services.contracts.observation import AnyObservation
from services.contracts.tasks import Task
from services.env_actor.episode import Episode, Sandbox
from services.env_actor.explore import ExploreEpisode
from services.env_actor.taskset import TaskSet
from services.sandbox.pool import SandboxPool

MakeVerifier = Callable[[TaskSet, AnswerGrader, SandboxPool], AnswerVerifier | None]
"""Makes what verifies the answers of a task set; None if it has no variants. Raises BadInput."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of an action, and the milliseconds that it spent in the sandbox; cached: no statement had to run."""

    observation: AnyObservation
    sandbox_ms: float
    cached: bool


class Taker:
    """Takes one action after the other."""

    def __init__(
        self, episode: Episode, task: Task, sandbox: Sandbox, deadline_s: float, verifier: AnswerVerifier | None
    ) -> None:
        self._episode = episode
        self._task = task
        self._sandbox = sandbox
        self._left_s = deadline_s
        self._verifier = verifier

    async def take(self, action: Action) -> Taken:
        """Take one action. Raises Infrastructure; then nothing was taken."""
        episode, started = self._episode, time.perf_counter()
        sql = episode.statement(action)
        outcome, seconds = (None, 0.0) if sql is None else await self._sandbox.run(self._task.database, sql)
        if self._verifier is not None and isinstance(action, Answer) and isinstance(episode, ExploreEpisode):
            episode.verification = await self._verifier.verify(self._task, action.value, episode.found())
        sandbox_ms = (time.perf_counter() - started) * 1e3
        observation = episode.apply(action, outcome)
        self._left_s -= seconds or 0.0
        if self._left_s <= 0 and not episode.over:
            episode.truncate("deadline")
        return Taken(observation, sandbox_ms, seconds is None)
