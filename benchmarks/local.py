"""A rollout in one process without Ray: the env actor's and the sink's own code."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rivals import check_correct
from cluster.config import RolloutConfig
from cluster.plan import batches
from cluster.schema import to_table
from cluster.sink import Sink
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.fetching import TaskSetAddress
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.registry import policy_maker


async def play_locally(
    config: RolloutConfig, task_set: TaskSet, specs: Sequence[EpisodeSpec], run: Path, batch: int
) -> float:
    """Play the episodes into a run folder; the seconds that it took, start-up left out."""
    sink = Sink(run, "part")
    verdicts: Counter[str] = Counter()

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        verdicts.update(trajectory.verdict for trajectory in trajectories)
        sink.append(to_table(trajectories))

    address = TaskSetAddress(
        folder=task_set.folder, source=str(task_set.folder), task_set_hash=task_set.manifest.task_set_hash()
    )
    setup = ActorSetup(task_set=address, limits=config.limits, sandbox=config.sandbox)
    actor = EnvActor(setup, {name: policy_maker(name) for name in config.policies}, GoldGrader.read, deliver)
    await actor.open()
    started = time.perf_counter()
    for handful in batches(specs, batch):
        await actor.play(handful)
    seconds = time.perf_counter() - started
    sink.roll()
    actor.close()
    check_correct(verdicts, len(specs))
    return seconds
