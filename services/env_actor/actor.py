"""The env actor: many episodes at once over one small sandbox, each record handed to the sink.

Invariant: every spec that comes in goes to the sink as one trajectory, graded or faulted, before `play` returns, but
for those whose model may not be asked any more.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from pydantic import Field

from services.contracts.errors import OverBudget
from services.contracts.grading import AnswerVerifier, Grader, Verdict
from services.contracts.policy import AnyPolicy, TurnPolicy
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.attempting import attempt
from services.env_actor.batching import Act, PolicyBatcher
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.confinement import Confinement
from services.env_actor.fetching import Files, TaskSetAddress, cache_folder, open_on_node
from services.env_actor.load import ActorLoad, Watch, resident_bytes
from services.env_actor.play import Player
from services.env_actor.taking import MakeVerifier
from services.env_actor.taskset import TaskSet
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from services.sandbox.turns import WHOSE

DELIVER_EVERY_S = 5.0
"""Seconds after which what is over is delivered, though others of the same handful still play."""
OBJECTS_A_COLLECTION = 50_000
Deliver = Callable[[Sequence[Trajectory]], Awaitable[None]]


class ActorSetup(Record):
    """What an env actor needs besides code."""

    task_set: TaskSetAddress
    limits: EpisodeLimits
    sandbox: SandboxLimits
    episodes_at_once: int = Field(default=32, ge=1)
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
        self._batchers: list[PolicyBatcher] = []
        self._act = {name: self._asker_of(make()) for name, make in policies.items()}
        self._deliver = deliver
        self._gate = asyncio.Semaphore(setup.episodes_at_once)
        self._pool: SandboxPool | None = None
        self._catalogs: dict[str, DatabaseCatalog] = {}

    async def play(self, specs: Sequence[EpisodeSpec]) -> list[EpisodeSummary]:
        """Play the episodes and deliver their trajectories; a summary of each that was played, in order."""
        playing = [asyncio.create_task(self._play_in_turn(spec)) for spec in specs]
        left: set[asyncio.Task[Trajectory | None]] = set(playing)
        self._in_hand += len(specs)
        try:
            while left:
                done, left = await asyncio.wait(left, timeout=DELIVER_EVERY_S)
                await self._deliver_those(task.result() for task in playing if task in done)
        finally:
            self._in_hand -= len(specs)
            for task in left:
                task.cancel()
        if self._watch is not None:
            self._watch(self.load())
        return [summary_of(played) for task in playing if (played := task.result()) is not None]

    async def _deliver_those(self, played: Iterable[Trajectory | None]) -> None:
        trajectories = [trajectory for trajectory in played if trajectory is not None]
        if trajectories:
            await self._deliver(trajectories)

    @ray.method(max_task_retries=-1)
    async def ready(self) -> bool:
        """True once the actor is placed and made."""
        return True

    @ray.method(max_task_retries=-1)
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
            turns=sum(batcher.waiting for batcher in self._batchers),
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

    def _asker_of(self, policy: AnyPolicy) -> Act:
        """How the policy is asked: turn by turn if it can be, else in batches."""
        if isinstance(policy, TurnPolicy):
            return policy.decide
        self._batchers.append(PolicyBatcher(policy))
        return self._batchers[-1].act

    async def _open(self) -> tuple[TaskSet, Grader]:
        """The task set on this node, fetched first if the node lacks it, and its grader."""
        async with self._opening:
            if self._opened is None:
                where = self._setup.task_set
                task_set = await asyncio.to_thread(open_on_node, where, self._driver, cache_folder())
                self._opened = task_set, self._make_grader(task_set.gold_path)
            return self._opened

    async def _play_in_turn(self, spec: EpisodeSpec) -> Trajectory | None:
        """The episode; None if its model may not be asked."""
        async with self._gate:
            WHOSE.set(spec.task_id)
            try:
                return await self._play_one(spec)
            except OverBudget:
                return None

    async def _play_one(self, spec: EpisodeSpec) -> Trajectory:
        task_set, grader = await self._open()
        task = task_set.tasks[spec.task_id]
        sandbox = self._sandbox(task_set)
        if self._verifier is None and self._make_verifier is not None:
            self._verifier = self._make_verifier(task_set, grader, sandbox)
        player = Player(sandbox, grader, self._act[spec.policy], self._setup.limits, self._verifier)
        return await attempt(player, spec, task, self._catalog(task_set, task.database), self._setup.limits.longest_s())

    def _sandbox(self, task_set: TaskSet) -> SandboxPool:
        if self._pool is None:
            if self._confinement is not None:
                self._confinement.widen()
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


def summary_of(trajectory: Trajectory) -> EpisodeSummary:
    """What the driver shows of a trajectory while the run goes on."""
    return EpisodeSummary(
        episode_id=trajectory.spec.episode_id,
        policy=trajectory.spec.policy,
        verdict=trajectory.verdict,
        steps=len(trajectory.steps),
    )


RemoteEnvActor: Any = ray.remote(EnvActor)
