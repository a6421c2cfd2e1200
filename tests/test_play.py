"""What an episode is charged for: the time its statements run, and nothing that others make it wait for."""

import asyncio
from collections.abc import Sequence

import pytest

from services.contracts.actions import Answer, ExploreAction, Query, parse_action
from services.contracts.errors import PolicyFault
from services.contracts.policy import Turn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.attempting import ATTEMPTS
from services.env_actor.play import Player
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from tests.conftest import address_of

SLOW = "SELECT count(*) FROM range(3000000) AS a(x) WHERE x % 7 = 3"


def spec_of(task_set: TaskSet, task_id: str) -> EpisodeSpec:
    return EpisodeSpec(run_id="r", task_set_hash="h", task_id=task_id, policy="p", seed=0, sample_index=0)


async def play(task_set: TaskSet, actions: Sequence[ExploreAction], pause_s: float, deadline_s: float) -> Trajectory:
    """An episode of the first task; the policy takes `pause_s` for each action."""
    task = next(iter(task_set.tasks.values()))
    script = iter(actions)

    async def act(turn: Turn) -> ExploreAction:
        await asyncio.sleep(pause_s)
        return next(script)

    paths = {task.database: task_set.database_path(task.database)}
    async with SandboxPool(paths, SandboxLimits()) as pool:
        player = Player(pool, GoldGrader.read(task_set.gold_path), act, EpisodeLimits(deadline_s=deadline_s))
        return await player.play(spec_of(task_set, task.task_id), task, task_set.catalog(task.database))


async def test_waiting_for_a_policy_is_not_on_the_episodes_account(
    builtin: TaskSet, golds: dict[str, GoldAnswer]
) -> None:
    gold = golds[next(iter(builtin.tasks))]
    actions = [parse_action("QUERY SELECT 1"), Answer(value=submission(gold.gold_answer))]
    played = await play(builtin, actions, pause_s=0.3, deadline_s=0.25)
    assert (played.verdict, played.truncation, len(played.steps)) == ("correct", None, 2)


async def test_statements_that_run_longer_than_an_episode_may_end_it(builtin: TaskSet) -> None:
    slow = [Query(sql=f"{SLOW} AND x > {n}") for n in range(15)]
    played = await play(builtin, slow, pause_s=0.0, deadline_s=0.001)
    assert (played.verdict, played.truncation, len(played.steps)) == ("resource_exceeded", "deadline", 1)
    assert len(played.timings) == 1


async def test_a_statement_that_was_known_already_costs_no_time(builtin: TaskSet) -> None:
    again = [Query(sql="SELECT 1") for _ in range(15)]
    played = await play(builtin, again, pause_s=0.0, deadline_s=60)
    assert [timing.cached for timing in played.timings] == [False] + [True] * 14


class Away:
    """A policy whose service is gone for its first calls."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    async def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        self._left -= 1
        await asyncio.sleep(0.01)
        if self._left >= 0:
            raise PolicyFault("nobody answers")
        return [Answer(value="") for _ in turns]


@pytest.mark.parametrize(("calls", "verdict"), [(0, "incorrect"), (ATTEMPTS - 1, "incorrect"), (ATTEMPTS, "ungraded")])
async def test_an_outage_longer_than_the_deadline_is_a_fault_and_never_a_grade(
    builtin: TaskSet, calls: int, verdict: str
) -> None:
    stored: list[Trajectory] = []

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        stored.extend(trajectories)

    limits = EpisodeLimits(deadline_s=0.001)
    setup = ActorSetup(task_set=address_of(builtin), limits=limits, sandbox=SandboxLimits())
    actor = EnvActor(setup, {"p": lambda: Away(calls)}, GoldGrader.read, keep)
    await actor.play([spec_of(builtin, next(iter(builtin.tasks)))])
    actor.close()
    (played,) = stored
    assert (played.verdict, played.truncation) == (verdict, None)
    assert (played.reward is None) == (verdict == "ungraded")
    assert played.attempts == min(calls + 1, ATTEMPTS)
