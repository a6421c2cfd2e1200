"""Plays an assessment: every participant on the same episodes, stored as any run, so that it can be regraded.

Invariant: every planned episode is stored, graded or faulted, whatever the participants do, when `play` returns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from cluster.config import RolloutConfig, TasksConfig
from cluster.evaluation.page import write_page
from cluster.evaluation.results import Evaluation, write_evaluation
from cluster.green.participants import participants_of
from cluster.green.request import AssessmentRequest
from cluster.plan import plan_episodes
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.sink import Sink
from cluster.verifying import verifier_for
from services.contracts.errors import Infrastructure, PolicyFault, SandboxFault
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.play import Player, faulted
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.pool import SandboxPool

ATTEMPTS = 3
"""Of an episode whose sandbox broke; a participant that failed is not asked again."""
Say = Callable[[int, int], Awaitable[None]]
"""Hears how many episodes of how many are stored."""


class OutOfTime(Infrastructure):
    """The assessment's time was up before the episode was played."""


class Assessment:
    """One assessment. Making it checks the request against the task set and starts the run folder."""

    def __init__(self, task_set: TaskSet, source: str, request: AssessmentRequest, folder: Path) -> None:
        asked = request.config
        config = RolloutConfig(
            name="green-agent",
            tasks=TasksConfig(path=source, sample=asked.tasks),
            policies=tuple(request.participants),
            samples=asked.samples,
            seed=asked.seed,
        )
        self._task_set = task_set
        self._asked = asked
        self._config = config
        self._participants = participants_of(request)
        self._specs = plan_episodes(config, task_set)
        self.run = RunFolder.start(folder, config, task_set, self._specs, None)

    async def play(self, say: Say) -> Evaluation:
        """Play all episodes, then make the report. Raises Infrastructure if they cannot be stored."""
        sink = Sink(self.run.path, "green")
        left = {spec.episode_id: spec for spec in self._specs}
        try:
            async with asyncio.timeout(self._asked.timeout_s):
                await self._play_all(sink, left, say)
        except TimeoutError:
            error = OutOfTime(f"the assessment's {self._asked.timeout_s:g} s were up")
            self._store(sink, [self._fault(spec, error) for spec in left.values()])
        finally:
            sink.close()
        self.run.check_complete(self._specs)
        return await asyncio.to_thread(_report, self.run, self._task_set)

    async def _play_all(self, sink: Sink, left: dict[str, EpisodeSpec], say: Say) -> None:
        paths = {name: self._task_set.database_path(name) for name in self._task_set.manifest.databases}
        grader = GoldGrader.read(self._task_set.gold_path)
        gates = {role: asyncio.Semaphore(self._asked.at_once) for role in self._participants}
        async with SandboxPool(paths, self._config.sandbox) as pool:
            verifier = verifier_for(self._task_set, grader, pool)
            players = {
                role: Player(pool, grader, participant.act, self._config.limits, verifier)
                for role, participant in self._participants.items()
            }

            async def one(spec: EpisodeSpec) -> None:
                async with gates[spec.policy]:
                    trajectory = await self._episode(players[spec.policy], spec)
                self._store(sink, [trajectory])
                del left[spec.episode_id]
                await say(len(self._specs) - len(left), len(self._specs))

            await _all_or_none([asyncio.create_task(one(spec)) for spec in self._specs])

    async def _episode(self, player: Player, spec: EpisodeSpec) -> Trajectory:
        task = self._task_set.tasks[spec.task_id]
        catalog = self._task_set.catalog(task.database)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await player.play(spec, task, catalog)
            except PolicyFault as error:
                return self._fault(spec, error)
            except SandboxFault as error:
                if attempt == ATTEMPTS:
                    return self._fault(spec, error, attempt)
        raise AssertionError("the loop returns")

    def _fault(self, spec: EpisodeSpec, error: Exception, attempts: int = 1) -> Trajectory:
        return faulted(spec, self._task_set.tasks[spec.task_id], error, attempts)

    def _store(self, sink: Sink, trajectories: Sequence[Trajectory]) -> None:
        if trajectories:
            sink.append(to_table(trajectories))


async def _all_or_none(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all tasks; the first error, or our own cancellation, ends the others."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _report(run: RunFolder, task_set: TaskSet) -> Evaluation:
    evaluation = write_evaluation(run, task_set)
    write_page(evaluation, run.path)
    return evaluation
