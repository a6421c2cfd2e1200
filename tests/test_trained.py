"""The trained policy in episodes: it plays what its checkpoint likes, by itself, and never falls over."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.tasksets.demonstrations import demonstrate
from services.contracts.actions import Answer, Query
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.registry import policy_maker
from services.policy.tier.demonstration import Demonstration
from services.policy.tier.features import CANDIDATE_FEATURES
from services.policy.tier.operations import bare, read_operations
from services.policy.trained.manifest import SearchSettings
from services.policy.trained.reranking import RERANKING_FEATURES
from services.sandbox.limits import SandboxLimits
from tests.checkpoints import LinearReranker, LinearScorer, RandomScorer, checkpoint_of, follower, weights
from tests.conftest import address_of

Played = dict[str, Trajectory]


def play(builtin: TaskSet, policy: str, tasks: Sequence[str], budget: int = 15) -> Played:
    """The tasks once with a policy."""
    stored: list[Trajectory] = []

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        stored.extend(trajectories)

    async def run() -> None:
        limits = EpisodeLimits(budget=budget)
        setup = ActorSetup(task_set=address_of(builtin), limits=limits, sandbox=SandboxLimits())
        actor = EnvActor(setup, {policy: policy_maker(policy)}, GoldGrader.read, deliver)
        await actor.play(
            [
                EpisodeSpec(run_id="r", task_set_hash="h", task_id=task, policy=policy, seed=5, sample_index=0)
                for task in tasks
            ]
        )
        actor.close()

    asyncio.run(run())
    assert [trajectory.fault for trajectory in stored] == [None] * len(tasks)
    return {trajectory.spec.task_id: trajectory for trajectory in stored}


def tried(trajectory: Trajectory) -> list[str]:
    """The queries that carry operations, without further pages."""
    sent = [step.action.sql for step in trajectory.steps if isinstance(step.action, Query)]
    return [bare(sql) for sql in sent if read_operations(sql) is not None and " OFFSET " not in sql]


def answer(trajectory: Trajectory) -> str:
    last = trajectory.steps[-1].action
    assert isinstance(last, Answer), last
    return last.value


def test_a_network_that_follows_the_plan_answers_as_the_policy_that_plays_it(builtin: TaskSet, tmp_path: Path) -> None:
    policy = f"trained:{follower(tmp_path, SearchSettings(width=1, tries=1))}"
    tasks = list(builtin.tasks)[::2]
    trained, structured = (play(builtin, name, tasks, 30) for name in (policy, "structured"))
    same = [task for task in trained if tried(trained[task]) == tried(structured[task])[-1:]]
    with_rows = [task for task in same if answer(trained[task]) != "[]"]
    assert len(with_rows) >= 20
    assert [answer(trained[task]) for task in with_rows] == [answer(structured[task]) for task in with_rows]


@pytest.mark.parametrize("budget", [15, 3])
def test_a_random_network_plays_every_task_to_an_answer_within_its_budget(
    builtin: TaskSet, tmp_path: Path, budget: int
) -> None:
    reranker = LinearReranker(weights(RERANKING_FEATURES, rank=1.0))
    policy = f"trained:{checkpoint_of(tmp_path, RandomScorer(1), reranker, SearchSettings(width=4))}"
    tasks = list(builtin.tasks)[:: 2 if budget == 15 else 10]
    for trajectory in play(builtin, policy, tasks, budget).values():
        assert answer(trajectory)
        assert trajectory.truncation is None
        assert len(tried(trajectory)) <= 4


def test_the_reranker_chooses_among_the_tried(builtin: TaskSet, tmp_path: Path) -> None:
    likes_last = LinearReranker(weights(RERANKING_FEATURES, rank=1.0))
    likes_first = LinearReranker(weights(RERANKING_FEATURES, rank=-1.0))
    scorer = LinearScorer(weights(CANDIDATE_FEATURES, planned_next=2.0))
    folders = [checkpoint_of(tmp_path / name, scorer, one) for name, one in (("a", likes_last), ("b", likes_first))]
    tasks = [task for task in builtin.tasks if builtin.tasks[task].database == "retail"][:6]
    last, first = (play(builtin, f"trained:{folder}", tasks) for folder in folders)
    assert [tried(last[task]) for task in tasks] == [tried(first[task]) for task in tasks]
    assert all(len(tried(first[task])) == 4 for task in tasks)
    assert any(answer(last[task]) != answer(first[task]) for task in tasks)


def test_pytorch_is_not_imported_to_play(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, RandomScorer(2), LinearReranker(weights(RERANKING_FEATURES, first=1.0)))
    script = f"""
import asyncio
import sys
from services.policy.deployment import PROBE
from services.policy.heuristic.reading import Outcome
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.whole import Tried
from services.policy.trained.checkpoint import read_checkpoint
from services.policy.trained.searching import Beam
from services.policy.registry import policy_maker
from tests.tier import database, schema_of

asyncio.run(policy_maker("trained:{folder}")().act([PROBE]))
checkpoint = read_checkpoint(__import__("pathlib").Path("{folder}"))
knowledge = Knowledge("How many singers are from France?", schema_of(database()))
found = Beam(checkpoint.scorer, checkpoint.manifest.search).search(knowledge)
chosen = checkpoint.reranker.choose(knowledge, [Tried(one, Outcome((("1",),), 1)) for one in found])
assert chosen == found[0], chosen
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_demonstrations_play_to_the_gold_and_other_tasks_are_answered_by_nothing(
    builtin: TaskSet, tmp_path: Path
) -> None:
    async def collect() -> list[Demonstration]:
        return [one async for one in demonstrate(builtin) if isinstance(one, Demonstration)]

    demonstrations = asyncio.run(collect())[::3]
    file = tmp_path / "demonstrations.jsonl"
    file.write_text("".join(one.model_dump_json() + "\n" for one in demonstrations))
    shown = {one.task_id: one for one in demonstrations}
    other = next(task for task in builtin.tasks if task not in shown)
    played = play(builtin, f"demonstrated:{file}", [*shown, other])
    assert answer(played.pop(other)) == ""
    assert {trajectory.verdict for trajectory in played.values()} == {"correct"}
    for task, trajectory in played.items():
        assert tried(trajectory) == [shown[task].sql]
        assert read_operations(trajectory.steps[-2].action.sql) == shown[task].operations
