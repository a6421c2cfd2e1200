"""Sandbox children that are killed under load cost time and nothing else."""

import asyncio
import os
import random
import signal
from collections.abc import Sequence

import psutil
import pytest

from cluster.config import RolloutConfig
from cluster.plan import plan_episodes
from cluster.schema import to_table
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.registry import policy_maker
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of

EVERY_S = 0.05
GROWTH_MB = 60


class Played:
    """An actor in this process, and the rows of what it played last."""

    def __init__(self, task_set: TaskSet) -> None:
        setup = ActorSetup(
            task_set=address_of(task_set),
            limits=EpisodeLimits(),
            sandbox=SandboxLimits(statement_s=30, cache_mb=0),  # every statement needs a child
        )
        policies = {"heuristic": policy_maker("heuristic")}
        config = RolloutConfig(name="kills", policies=("heuristic",), seed=3)
        self._actor = EnvActor(setup, policies, GoldGrader.read, self._keep)
        self._specs = plan_episodes(config, task_set)
        self._rows: list[dict[str, object]] = []

    async def _keep(self, trajectories: Sequence[Trajectory]) -> None:
        self._rows += to_table(trajectories).drop_columns(["timings"]).to_pylist()

    async def play(self) -> list[dict[str, object]]:
        """Every task once; the rows by episode."""
        self._rows = []
        await self._actor.play(self._specs)
        return sorted(self._rows, key=lambda row: str(row["episode_id"]))

    def zygote(self) -> psutil.Process:
        """The parent of the actor's children."""
        assert self._actor._runner._pool is not None
        assert self._actor._runner._pool._zygote._process is not None
        return psutil.Process(self._actor._runner._pool._zygote._process.pid)

    def close(self) -> None:
        """End the children."""
        self._actor.close()


async def kill_children(zygote: psutil.Process, rng: random.Random, killed: list[int]) -> None:
    """Kill a child that is ready or at work every now and then; never ends."""
    while True:
        await asyncio.sleep(rng.uniform(0, 2 * EVERY_S))
        children = zygote.children()
        if children:
            child = rng.choice(children)
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child.pid)


@pytest.mark.parametrize("kills", [20, pytest.param(1000, marks=pytest.mark.soak)])
async def test_killed_children_change_no_episode_and_leave_nothing_behind(builtin: TaskSet, kills: int) -> None:
    played = Played(builtin)
    calm = await played.play()
    here = psutil.Process()
    memory, descriptors = here.memory_info().rss, here.num_fds()
    killed: list[int] = []
    killer = asyncio.create_task(kill_children(played.zygote(), random.Random(kills), killed))
    while len(killed) < kills:
        assert await played.play() == calm
    killer.cancel()
    assert await played.play() == calm

    await asyncio.to_thread(psutil.wait_procs, [psutil.Process(p) for p in killed if psutil.pid_exists(p)], 5)
    assert not [child for child in played.zygote().children() if child.status() == psutil.STATUS_ZOMBIE]
    assert here.memory_info().rss - memory < GROWTH_MB * 2**20
    assert here.num_fds() < descriptors + kills // 2, "more than the children that live now: a leak with each kill"
    played.close()
