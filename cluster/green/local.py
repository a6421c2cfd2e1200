"""The explore environment in this process, with reset and step: what a Green Agent needs no server for."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import cast

from cluster.green.agent import StepResult
from cluster.verifying import verifier_for
from services.contracts.actions import ExploreAction
from services.contracts.errors import BadInput
from services.contracts.grading import AnswerVerifier
from services.contracts.observation import Observation
from services.contracts.tasks import EpisodeLimits, Task
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.explore import ExploreEpisode
from services.env_actor.taking import Taker
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool


class LocalEnvironment:
    """Plays the tasks of a set in a seeded order, each once before one comes again. Use as a context manager."""

    def __init__(
        self,
        task_set: TaskSet,
        seed: int = 0,
        limits: EpisodeLimits | None = None,
        sandbox: SandboxLimits | None = None,
    ) -> None:
        if not task_set.tasks:
            raise BadInput(f"the task set {task_set.manifest.name} is empty")
        self._task_set = task_set
        self._seed = seed
        self._limits = limits or EpisodeLimits()
        self._sandbox = sandbox or SandboxLimits(children=2)
        self._grader = GoldGrader.read(task_set.gold_path)
        self._tasks = self._draw()
        self._runner = asyncio.Runner()
        self._pool: SandboxPool | None = None
        self.episode: ExploreEpisode | None = None
        self.task: Task | None = None
        self._verifier: AnswerVerifier | None = None
        self._taker: Taker | None = None

    def __enter__(self) -> "LocalEnvironment":
        task_set = self._task_set
        task_set.check_databases(task_set.manifest.databases)
        paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
        self._pool = self._runner.run(_made(paths, self._sandbox))
        self._verifier = verifier_for(task_set, self._grader, self._pool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close()
        self._runner.close()

    def reset(self) -> StepResult:
        """The first observation of the next task."""
        if self._pool is None:
            raise BadInput("reset the environment inside its `with`")
        task, sample = next(self._tasks)
        spec = EpisodeSpec(
            run_id="green-agent",
            task_set_hash=self._task_set.manifest.task_set_hash(),
            task_id=task.task_id,
            policy="green-agent",
            seed=self._seed,
            sample_index=sample,
        )
        catalog = self._task_set.catalog(task.database)
        self.task = task
        self.episode = ExploreEpisode(
            task, catalog, self._grader, spec.episode_seed(), self._limits.budget, self._limits.structure
        )
        self._taker = Taker(self.episode, task, self._pool, self._limits.deadline_s, self._verifier)
        return StepResult(observation=self.episode.reset(), reward=None, done=False)

    def step(self, action: ExploreAction) -> StepResult:
        """What came of one action. Raises SandboxFault, and BadInput before the first reset."""
        if self.episode is None or self._taker is None:
            raise BadInput("reset the environment first, inside its `with`")
        observation = cast(Observation, self._runner.run(self._taker.take(action)).observation)
        return StepResult(observation=observation, reward=self.episode.steps[-1].reward, done=self.episode.over)

    def _draw(self) -> Iterator[tuple[Task, int]]:
        """The tasks in another seeded order each time round, with the number of the round."""
        ids, sample = sorted(self._task_set.tasks), 0
        while True:
            for task_id in random.Random(f"green/{self._seed}/{sample}").sample(ids, len(ids)):
                yield self._task_set.tasks[task_id], sample
            sample += 1


async def _made(paths: dict[str, Path], limits: SandboxLimits) -> SandboxPool:
    """A pool belongs to the event loop in which it is made."""
    return SandboxPool(paths, limits)
