"""Places are handed round by task; nobody is forgotten, whoever gives up; and a cut-off episode ends its statement."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.actions import Action, Query
from services.contracts.policy import AnyTurn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.turns import WHOSE, Turns
from tests.conftest import address_of

ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"


async def take(turns: Turns, whose: str, served: list[str], under_way: list[int]) -> None:
    WHOSE.set(whose)
    async with turns:
        under_way.append(1)
        served.append(whose)
        await asyncio.sleep(0)
        under_way.pop()


async def test_a_task_with_many_waiting_does_not_hold_up_the_others() -> None:
    turns, served = Turns(1), list[str]()
    many = [take(turns, "many", served, []) for _ in range(50)]
    few = [take(turns, "few", served, []) for _ in range(3)]
    await asyncio.gather(*(asyncio.create_task(one) for one in [*many, *few]))
    assert served[:7] == ["many", "many", "few", "many", "few", "many", "few"]
    assert Counter(served) == {"many": 50, "few": 3}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20), st.integers(0, 5))
def test_everybody_who_waits_is_served_and_no_place_is_lost(
    places: int, asked: list[tuple[str, bool]], pause: int
) -> None:
    async def run() -> None:
        turns, served, under_way = Turns(places), list[str](), list[int]()
        tasks = [asyncio.create_task(take(turns, whose, served, under_way)) for whose, _ in asked]
        for _ in range(pause):
            await asyncio.sleep(0)
            assert len(under_way) <= places
        for task, (_, gives_up) in zip(tasks, asked, strict=True):
            if gives_up:
                task.cancel()
        async with asyncio.timeout(10):
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            stayed = [error for error, (_, gives_up) in zip(ended, asked, strict=True) if not gives_up]
            assert stayed == [None] * len(stayed)
            free = [asyncio.create_task(take(turns, "x", served, under_way)) for _ in range(places)]
            await asyncio.gather(*free)
        assert turns._free == places

    asyncio.run(run())


class Endless:
    """Asks for a statement that never ends."""

    async def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        return [await self.decide(turn) for turn in turns]

    async def decide(self, turn: AnyTurn) -> Action:
        return Query(sql=ENDLESS)


def computing(zygote: psutil.Process) -> bool:
    """Whether a child of the zygote runs a statement."""
    busy = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
    return any(child.is_running() and child.status() in busy for child in zygote.children())


@pytest.mark.parametrize("statement_s", [60.0])
async def test_an_episode_that_is_cut_off_is_a_fault_and_its_statement_ends(
    statement_s: float, builtin: TaskSet
) -> None:
    kept: list[Trajectory] = []

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        kept.extend(trajectories)

    limits = EpisodeLimits(wall_s=1.5)
    setup = ActorSetup(task_set=address_of(builtin), limits=limits, sandbox=SandboxLimits(statement_s=statement_s))
    actor = EnvActor(setup, {"p": Endless}, GoldGrader.read, keep)
    await actor.open()
    spec = EpisodeSpec(run_id="r", task_set_hash="h", task_id="retail-000", policy="p", seed=0, sample_index=0)
    await actor.play([spec])
    (played,) = kept
    assert played.fault is not None
    assert (played.fault.kind, played.verdict, played.reward) == ("Overdue", "ungraded", None)
    assert actor._runner._pool is not None
    zygote = psutil.Process(actor._runner._pool._zygote._process.pid)  # type: ignore[union-attr]
    deadline = time.monotonic() + 20
    while computing(zygote):  # a child that waits has taken the place of the one that ran the statement
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    actor.close()
