"""What verification on variants costs a rollout: CPU seconds of grouped episodes with it, over those without it.

One env actor without Ray plays groups of eight samples of a task, as GRPO does. Each sample looks around in its own way
(DESCRIBE, SAMPLE, and three queries that no other sample asks), then runs the right query in one of two formulations
and one of two spellings, and answers: rightly in three samples of four, else wrongly. Rounds with and without
verification are interleaved, each with a fresh actor that opens the variants; the figure is the median of their ratios.

    python benchmarks/verification.py [--task-set FOLDER [--databases N]] [--json] [--quick]

FOLDER is a task set with variants; without it, the built-in one gets some first, which takes a few minutes. All tasks
are played, or all those of N databases drawn by chance, one database after the other as a rollout plays them; the quick
form plays ten tasks spread over the file, so that each may be of a database of its own.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported
# ruff: noqa: E402

from benchmarks.outcome import print_outcome
from cluster.tasksets.generated import builtin_folder
from cluster.tasksets.variants import add_variants, build_here
from cluster.verifying import verifier_for
from services.contracts.actions import ExploreAction, make_action
from services.contracts.policy import Turn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.fetching import TaskSetAddress
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer, read_gold
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits

SAMPLES, FORMULATIONS = 8, 4
ROUNDS = 7
QUICK_TASKS = 10


class Honest:
    """Looks around, asks for the gold in one of a few formulations, and answers with it."""

    def __init__(self, task_set: TaskSet, golds: dict[str, GoldAnswer]) -> None:
        self._task_set = task_set
        self._golds = golds

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        """The next action of each episode."""
        return [self._next(turn) for turn in turns]

    def _next(self, turn: Turn) -> ExploreAction:
        gold = self._golds[turn.task_id]
        tables = gold.tables_involved or ("",)
        one, last = tables[0], tables[-1]
        mark, asked = turn.seed % 1_000, turn.seed % FORMULATIONS
        right = gold.gold_sql.rstrip("; ")
        formulation = right if asked % 2 else f"SELECT * FROM ({right}) AS found"
        answer = submission(gold.gold_answer) if asked else "something else"
        steps = (
            ("DESCRIBE", one),
            ("SAMPLE", one),
            ("DESCRIBE", last),
            ("QUERY", f'SELECT count(*), {mark} FROM "{last}"'),
            ("QUERY", f'SELECT * FROM "{one}" LIMIT 5 OFFSET {mark % 50}'),
            ("QUERY", f'SELECT DISTINCT * FROM "{last}" LIMIT {3 + mark % 50}'),
            ("QUERY", f"{formulation} -- {asked}"),
            ("ANSWER", answer),
        )
        return make_action(*steps[len(turn.history)])


async def cpu_of_round(task_set: TaskSet, golds: dict[str, GoldAnswer], verified: bool, tasks: Sequence[str]) -> float:
    """CPU seconds of one round, children included, from a fresh actor to its last episode."""
    verdicts: list[str] = []

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        verdicts.extend(trajectory.verdict for trajectory in trajectories)

    task_set_hash = task_set.manifest.task_set_hash()
    address = TaskSetAddress(folder=task_set.folder, task_set_hash=task_set_hash, source=str(task_set.folder))
    setup = ActorSetup(task_set=address, limits=EpisodeLimits(), sandbox=SandboxLimits())
    policies = {"honest": lambda: Honest(task_set, golds)}
    actor = EnvActor(setup, policies, GoldGrader.read, deliver, None, verifier_for if verified else None)
    await actor.open()
    before = _cpu_s()
    for task_id in tasks:
        parts = {"run_id": "r", "task_set_hash": task_set_hash, "task_id": task_id, "policy": "honest", "seed": 0}
        await actor.play([EpisodeSpec.model_validate({**parts, "sample_index": n}) for n in range(SAMPLES)])
    spent = _cpu_s() - before
    actor.close()
    if not {"correct"} <= set(verdicts) <= {"correct", "incorrect"}:
        raise RuntimeError(f"a right query was not paid: {sorted(set(verdicts))}")
    return spent


def _cpu_s() -> float:
    """CPU seconds of this process and of all it has started, those that have ended included."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _task_set(given: Path | None, folder: Path, quick: bool) -> TaskSet:
    if given is not None:
        return TaskSet(given)
    shutil.copytree(asyncio.run(builtin_folder()), folder)
    made = TaskSet(folder)
    add_variants(made, 0, lambda done: None, only=["airline"] if quick else None, build=build_here)
    return TaskSet(folder)


def main(arguments: list[str]) -> None:
    """Play the rounds and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task-set", type=Path)
    parser.add_argument("--databases", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        task_set = _task_set(options.task_set, Path(folder) / "set", options.quick)
        golds = read_gold(task_set.gold_path)
        covered = task_set.manifest.variants.archives if task_set.manifest.variants else {}
        drawn = random.Random(0).sample(sorted(covered), options.databases or len(covered))
        tasks = [task_id for task_id, task in task_set.tasks.items() if task.database in drawn]
        tasks = tasks[:: len(tasks) // QUICK_TASKS] if options.quick and len(tasks) > QUICK_TASKS else tasks
        rounds = 3 if options.quick else ROUNDS
        found: dict[str, list[float]] = {"base": [], "verified": []}
        for _ in range(rounds):
            for series, verified in (("base", False), ("verified", True)):
                found[series].append(asyncio.run(cpu_of_round(task_set, golds, verified, tasks)))
    ratios = [mine / other for mine, other in zip(found["verified"], found["base"], strict=True)]
    episodes = SAMPLES * len(tasks)
    figures = {
        "verified_over_base": statistics.median(ratios),
        "base_ms_per_episode": 1e3 * statistics.median(found["base"]) / episodes,
        "verified_ms_per_episode": 1e3 * statistics.median(found["verified"]) / episodes,
        "episodes_per_round": episodes,
    }
    print_outcome("verification", figures, {**found, "verified_over_base": ratios}, rounds, options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
