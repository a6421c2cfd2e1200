"""The built-in policies on the built-in tasks, played by the env actor's own code without Ray."""

import asyncio
from collections.abc import Sequence

from cluster.report import interval
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.registry import policy_maker
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of


def play_all(builtin: TaskSet, policies: Sequence[str]) -> list[Trajectory]:
    """Every built-in task once with each policy."""
    stored: list[Trajectory] = []

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        stored.extend(trajectories)

    async def run() -> None:
        setup = ActorSetup(task_set=address_of(builtin), limits=EpisodeLimits(), sandbox=SandboxLimits())
        actor = EnvActor(setup, {name: policy_maker(name) for name in policies}, GoldGrader.read, deliver)
        specs = [
            EpisodeSpec(run_id="r", task_set_hash="h", task_id=task_id, policy=name, seed=5, sample_index=0)
            for task_id in builtin.tasks
            for name in policies
        ]
        await actor.play(specs)
        actor.close()

    asyncio.run(run())
    return stored


def test_the_heuristic_solves_a_quarter_of_the_builtin_tasks_and_beats_random_clearly(builtin: TaskSet) -> None:
    correct = {"random": 0, "heuristic": 0}
    trajectories = play_all(builtin, list(correct))
    assert len(trajectories) == 200
    for trajectory in trajectories:
        correct[trajectory.spec.policy] += trajectory.verdict == "correct"
    assert correct["heuristic"] >= 25
    heuristic_low, random_high = interval(correct["heuristic"], 100)[0], interval(correct["random"], 100)[1]
    assert heuristic_low is not None
    assert random_high is not None
    assert heuristic_low > random_high
