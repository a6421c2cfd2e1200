"""Plays one episode from its first observation to its trajectory: the way that README follows.

policy -> action -> sandbox (a QUERY only) -> ExploreEpisode.apply -> observation -> policy …
"""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from services.contracts.actions import Answer, ExploreAction
from services.contracts.grading import AnswerGrader, AnswerVerifier
from services.contracts.policy import Exchange, Turn
from services.contracts.statements import StatementOutcome
from services.contracts.tasks import EpisodeLimits, Task
from services.contracts.trajectory import EpisodeSpec, Fault, StepTiming, Trajectory
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.explore import ExploreEpisode


class Sandbox(Protocol):
    """Runs one statement on one database. Raises SandboxFault."""

    async def run(self, database: str, sql: str) -> tuple[StatementOutcome, float | None]:
        """The outcome of the statement, and the seconds that it ran; None if it was known already."""
        ...


Act = Callable[[Turn], Awaitable[ExploreAction]]


class Player:
    """Plays the episodes of one task set with one policy. Holds nothing of an episode between two of them."""

    def __init__(
        self,
        sandbox: Sandbox,
        grader: AnswerGrader,
        act: Act,
        limits: EpisodeLimits,
        verifier: AnswerVerifier | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._grader = grader
        self._act = act
        self._limits = limits
        self._verifier = verifier

    async def play(self, spec: EpisodeSpec, task: Task, catalog: DatabaseCatalog) -> Trajectory:
        """One whole episode. Raises Infrastructure if a part of the machine failed; then nothing is graded."""
        started_at, started = time.time(), time.perf_counter()
        episode = ExploreEpisode(task, catalog, self._grader, spec.episode_seed(), self._limits.budget)
        timings: list[StepTiming] = []
        await self._steps(spec, task, episode, timings)
        return Trajectory(
            spec=spec,
            task=task,
            steps=tuple(episode.steps),
            timings=tuple(timings),
            terminated=episode.terminated,
            truncation=episode.truncation,
            fault=None,
            verdict=episode.verdict(),
            reward=episode.reward(),
            started_at=started_at,
            wall_ms=_since(started),
            verification=episode.verification,
        )

    async def _steps(self, spec: EpisodeSpec, task: Task, episode: ExploreEpisode, timings: list[StepTiming]) -> None:
        ran_s = 0.0
        turn = Turn(task_id=task.task_id, seed=spec.episode_seed(), first=episode.reset(), history=())
        while not episode.over:
            asked = time.perf_counter()
            action = await self._act(turn)
            decided = time.perf_counter()
            sql = episode.statement(action)
            outcome, seconds = (None, 0.0) if sql is None else await self._sandbox.run(task.database, sql)
            timings.append(
                StepTiming(policy_ms=(decided - asked) * 1e3, sandbox_ms=_since(decided), cached=seconds is None)
            )
            verification = None
            if self._verifier is not None and isinstance(action, Answer):
                verification = await self._verifier.verify(task, action.value, episode.found())
            observation = episode.apply(action, outcome, verification)
            ran_s += seconds or 0.0
            if ran_s >= self._limits.deadline_s and not episode.over:
                episode.truncate("deadline")
            exchange = Exchange(action=action, observation=observation)
            turn = turn.model_copy(update={"history": (*turn.history, exchange)})


def faulted(spec: EpisodeSpec, task: Task, error: Exception, attempts: int) -> Trajectory:
    """The record of an episode that the machine could not play: ungraded, reward None."""
    return Trajectory(
        spec=spec,
        task=task,
        steps=(),
        timings=(),
        terminated=False,
        truncation=None,
        fault=Fault(kind=type(error).__name__, message=str(error)[:1000], attempts=attempts),
        verdict="ungraded",
        reward=None,
        started_at=time.time(),
        wall_ms=0.0,
        attempts=attempts,
    )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
