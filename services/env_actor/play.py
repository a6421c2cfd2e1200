"""Plays one episode from its first observation to its trajectory: the way that README follows.

policy -> action -> Taker: sandbox (if it has a statement), Episode.apply -> observation -> policy …
"""

import time

from services.contracts.grading import AnswerVerifier, Grader
from services.contracts.policy import Decided, Decision, action_of
from services.contracts.tasks import EpisodeLimits, Task
from services.contracts.trajectory import EpisodeSpec, Fault, StepTiming, Trajectory
from services.env_actor.analyst.trials import TrialGround
from services.env_actor.batching import Act
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.episode import Episode, episode_of, sandbox_of
from services.env_actor.explore import ExploreEpisode
from services.env_actor.taking import Taken, Taker


class Player:
    """Plays the episodes of one task set with one policy. Holds nothing of an episode between two of them."""

    def __init__(
        self,
        sandbox: TrialGround,
        grader: Grader,
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
        episode = episode_of(task, catalog, self._grader, spec.episode_seed(), self._limits)
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
            verification=episode.verification if isinstance(episode, ExploreEpisode) else None,
        )

    async def _steps(self, spec: EpisodeSpec, task: Task, episode: Episode, timings: list[StepTiming]) -> None:
        sandbox = sandbox_of(task, self._sandbox, self._grader)
        taker = Taker(episode, task, sandbox, self._limits.deadline_s, self._verifier)
        turn = episode.turn(spec.episode_seed())
        while not episode.over:
            asked = time.perf_counter()
            answer = await self._act(turn)
            policy_ms, action = _since(asked), action_of(answer)
            taken = await taker.take(action)
            timings.append(_timing(policy_ms, taken, answer))
            turn = turn.then(action, taken.observation)


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


def _timing(policy_ms: float, taken: Taken, answer: Decided) -> StepTiming:
    if not isinstance(answer, Decision):
        return StepTiming(policy_ms=policy_ms, sandbox_ms=taken.sandbox_ms, cached=taken.cached)
    usage = answer.usage
    return StepTiming(
        policy_ms=policy_ms,
        sandbox_ms=taken.sandbox_ms,
        cached=taken.cached,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        usd=answer.usd,
        reasoning=answer.reasoning,
    )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
