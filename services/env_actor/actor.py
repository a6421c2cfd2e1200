"""The env actor: many episodes at once over one small sandbox, each record handed to the sink.

Invariant: every spec that comes in goes to the sink as one trajectory, graded or faulted, before `play` returns.
"""

import asyncio
import contextlib
import gc
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from pydantic import Field
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from services.contracts.errors import Infrastructure
from services.contracts.grading import AnswerVerifier, Grader, Verdict
from services.contracts.policy import AnyPolicy
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits, Task
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.batching import PolicyBatcher
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.confinement import Confinement
from services.env_actor.fetching import Files, TaskSetAddress, cache_folder, open_on_node
from services.env_actor.load import ActorLoad, Watch, resident_bytes
from services.env_actor.play import Player, faulted
from services.env_actor.taking import MakeVerifier
from services.env_actor.taskset import TaskSet
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

ATTEMPTS = 3
EPISODES_AT_ONCE = 32
OBJECTS_A_COLLECTION = 50_000
Deliver = Callable[[Sequence[Trajectory]], Awaitable[None]]


class ActorSetup(Record):
    """What an env actor needs besides code."""

    task_set: TaskSetAddress
    limits: EpisodeLimits
    sandbox: SandboxLimits
    confined: bool = Field(default=False, description="two cores and its memory: for a process of its own")


class EpisodeSummary(NamedTuple):
    """What the driver is told of an episode that is safe in the sink."""

    episode_id: str
    policy: str
    verdict: Verdict
    steps: int


class EnvActor:
    """Plays batches of episodes. `policies` and `grader` are made where the actor runs, from picklable parts."""

    def __init__(
        self,
        setup: ActorSetup,
        policies: Mapping[str, Callable[[], AnyPolicy]],
        grader: Callable[[Path], Grader],
        deliver: Deliver,
        driver: Files | None = None,
        verifier: MakeVerifier | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._setup = setup
        self._watch = watch
        self._in_hand = 0
        self._make_verifier = verifier
        self._verifier: AnswerVerifier | None = None
        self._confinement = Confinement() if setup.confined else None
        self._driver = driver
        self._make_grader = grader
        self._opening = asyncio.Lock()
        self._opened: tuple[TaskSet, Grader] | None = None
        self._batchers = {name: PolicyBatcher(make()) for name, make in policies.items()}
        self._deliver = deliver
        self._gate = asyncio.Semaphore(EPISODES_AT_ONCE)
        self._pool: SandboxPool | None = None
        self._catalogs: dict[str, DatabaseCatalog] = {}

    async def play(self, specs: Sequence[EpisodeSpec]) -> list[EpisodeSummary]:
        """Play the episodes and deliver their trajectories; a summary of each, in order."""
        self._in_hand += len(specs)
        try:
            trajectories = await asyncio.gather(*map(self._play_in_turn, specs))
            await self._deliver(trajectories)
        finally:
            self._in_hand -= len(specs)
        if self._watch is not None:
            self._watch(self.load())
        return [summary_of(trajectory) for trajectory in trajectories]

    async def ready(self) -> bool:
        """True once the actor is placed and made."""
        return True

    async def open(self) -> bool:
        """True once the task set is on this node and the sandbox is warm. Raises BadInput, Infrastructure."""
        task_set, _ = await self._open()
        self._sandbox(task_set).warm_up()
        await self._deliver(())
        _settle()
        return True

    def load(self) -> ActorLoad:
        """What the actor holds at this moment."""
        pool = self._pool
        return ActorLoad(
            episodes=self._in_hand,
            turns=sum(batcher.waiting for batcher in self._batchers.values()),
            statements=pool.asked if pool else 0,
            children=pool.children() if pool else 0,
            children_ended=pool.respawns if pool else 0,
            memory_bytes=resident_bytes(),
        )

    def cores(self) -> list[int]:
        """The cores that the actor and its children run on."""
        return sorted(os.sched_getaffinity(0))

    def close(self) -> None:
        """End the sandbox children."""
        if self._pool is not None:
            self._pool.close()

    async def _open(self) -> tuple[TaskSet, Grader]:
        """The task set on this node, fetched first if the node lacks it, and its grader."""
        async with self._opening:
            if self._opened is None:
                where = self._setup.task_set
                task_set = await asyncio.to_thread(open_on_node, where, self._driver, cache_folder())
                self._opened = task_set, self._make_grader(task_set.gold_path)
            return self._opened

    async def _play_in_turn(self, spec: EpisodeSpec) -> Trajectory:
        async with self._gate:
            return await self._play_one(spec)

    async def _play_one(self, spec: EpisodeSpec) -> Trajectory:
        task_set, grader = await self._open()
        task = task_set.tasks[spec.task_id]
        sandbox = self._sandbox(task_set)
        if self._verifier is None and self._make_verifier is not None:
            self._verifier = self._make_verifier(task_set, grader, sandbox)
        player = Player(sandbox, grader, self._batchers[spec.policy].act, self._setup.limits, self._verifier)
        catalog = self._catalog(task_set, task.database)
        with contextlib.suppress(Infrastructure):
            return await player.play(spec, task, catalog)
        return await _play_again(player, spec, task, catalog)

    def _sandbox(self, task_set: TaskSet) -> SandboxPool:
        if self._pool is None:
            paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
            self._pool = SandboxPool(paths, self._setup.sandbox)
        return self._pool

    def _catalog(self, task_set: TaskSet, database: str) -> DatabaseCatalog:
        if database not in self._catalogs:
            self._catalogs[database] = task_set.catalog(database)
        return self._catalogs[database]


def _settle() -> None:
    """Keep the garbage collector from looking at what is loaded by now: it lives as long as the actor."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_A_COLLECTION)


async def _play_again(player: Player, spec: EpisodeSpec, task: Task, catalog: DatabaseCatalog) -> Trajectory:
    """The episode after a first attempt that broke down; a fault if it breaks down every time."""
    tries = AsyncRetrying(
        stop=stop_after_attempt(ATTEMPTS - 1), retry=retry_if_exception_type(Infrastructure), reraise=True
    )
    try:
        trajectory: Trajectory = await tries(player.play, spec, task, catalog)
    except Infrastructure as error:
        return faulted(spec, task, error, ATTEMPTS)
    return trajectory.model_copy(update={"attempts": 1 + int(tries.statistics["attempt_number"])})


def summary_of(trajectory: Trajectory) -> EpisodeSummary:
    """What the driver shows of a trajectory while the run goes on."""
    return EpisodeSummary(
        episode_id=trajectory.spec.episode_id,
        policy=trajectory.spec.policy,
        verdict=trajectory.verdict,
        steps=len(trajectory.steps),
    )


RemoteEnvActor: Any = ray.remote(EnvActor)
