"""Plays single episodes on what all of an actor's share: the task set, the grader, the policies and the sandbox.

Apart from the actor, as Ray wraps each method of an actor's class, one more frame at each await.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import Field

from services.contracts.errors import OverBudget
from services.contracts.grading import AnswerVerifier, Grader
from services.contracts.policy import AnyPolicy, TurnPolicy
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.attempting import attempt
from services.env_actor.batching import Act, PolicyBatcher
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.confinement import Confinement
from services.env_actor.fetching import Files, TaskSetAddress, cache_folder, open_on_node
from services.env_actor.load import ActorLoad, resident_bytes
from services.env_actor.play import Player
from services.env_actor.taking import MakeVerifier
from services.env_actor.taskset import TaskSet
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from services.sandbox.turns import WHOSE


class ActorSetup(Record):
    """What an env actor needs besides code."""

    task_set: TaskSetAddress
    limits: EpisodeLimits
    sandbox: SandboxLimits
    episodes_at_once: int = Field(default=32, ge=1)
    confined: bool = Field(default=False, description="two cores and its memory: for a process of its own")


class EpisodeRunner:
    """`policies` and `grader` are made where the runner is, from picklable parts; the rest when first needed."""

    def __init__(
        self,
        setup: ActorSetup,
        policies: Mapping[str, Callable[[], AnyPolicy]],
        grader: Callable[[Path], Grader],
        driver: Files | None = None,
        verifier: MakeVerifier | None = None,
    ) -> None:
        self._setup = setup
        self._make_verifier = verifier
        self._verifier: AnswerVerifier | None = None
        self._confinement = Confinement() if setup.confined else None
        self._driver = driver
        self._make_grader = grader
        self._opening = asyncio.Lock()
        self._opened: tuple[TaskSet, Grader] | None = None
        self._batchers: list[PolicyBatcher] = []
        self._act = {name: self._asker_of(make()) for name, make in policies.items()}
        self._gate = asyncio.Semaphore(setup.episodes_at_once)
        self._pool: SandboxPool | None = None
        self._catalogs: dict[str, DatabaseCatalog] = {}

    async def open(self) -> None:
        """Have the task set on this node and the sandbox warm. Raises BadInput, Infrastructure."""
        task_set, _ = await self._open()
        self._sandbox(task_set).warm_up()

    async def play(self, spec: EpisodeSpec) -> Trajectory | None:
        """The episode, when it is its turn; None if its model may not be asked."""
        async with self._gate:
            WHOSE.set(spec.task_id)
            try:
                return await self._play(spec)
            except OverBudget:
                return None

    def load(self, in_hand: int) -> ActorLoad:
        """What is held at this moment, with so many episodes in hand."""
        pool = self._pool
        return ActorLoad(
            episodes=in_hand,
            turns=sum(batcher.waiting for batcher in self._batchers),
            statements=pool.asked if pool else 0,
            children=pool.children() if pool else 0,
            children_ended=pool.respawns if pool else 0,
            memory_bytes=resident_bytes(),
        )

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

    async def _play(self, spec: EpisodeSpec) -> Trajectory:
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
