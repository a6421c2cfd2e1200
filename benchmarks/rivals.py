"""The rivals of the throughput benchmarks: our rollout with and without Ray, and skyrl-gym, on the same questions.

Every rival plays the same four actions an episode: two looks at the data, the gold query, the answer.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.workload import write_spider_like
from cluster.config import ActorsConfig, RolloutConfig, TasksConfig
from cluster.driver import Driver
from cluster.plan import plan_episodes
from cluster.run import RunFolder
from cluster.tasksets.spider import import_spider
from cluster.wiring import Fleet
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import read_gold

STEPS = 4
BATCH = 256


@dataclass(frozen=True)
class Workload:
    """What everybody plays: the source folder, the task set made from it, our script and the peer's questions."""

    source: Path
    task_set: TaskSet
    scripts: Path
    peer: Path

    def config(self, samples: int, actors: int) -> RolloutConfig:
        """The rollout that every one of ours plays."""
        return RolloutConfig(
            name="bench",
            tasks=TasksConfig(path=str(self.task_set.folder)),
            policies=(f"scripted:{self.scripts}",),
            samples=samples,
            actors=ActorsConfig(count=actors, cpus=0.5, memory_mb=512, batch=BATCH),
        )


def prepare(folder: Path, spider: Path | None, questions: int) -> Workload:
    """The workload of a Spider folder, or of a Spider-like one with so many questions a database."""
    source = spider or write_spider_like(folder / "source", questions)
    asyncio.run(import_spider(source, folder / "set", "bench", lambda done: None))
    task_set = TaskSet(folder / "set")
    golds = read_gold(task_set.gold_path)
    lines = []
    for task_id, task in task_set.tasks.items():
        table = task_set.catalog(task.database).tables[0].name
        gold = golds[task_id]
        queries = [f'SELECT * FROM "{table}" LIMIT 3', f'SELECT count(*) FROM "{table}"', gold.gold_sql]
        actions = [f"QUERY {sql}" for sql in queries] + [f"ANSWER {submission(gold.gold_answer)}"]
        peer = [f"<think>t</think><sql>{sql}</sql>" for sql in [*queries[:2], gold.source_sql]]
        peer.append(f"<think>t</think><solution>{gold.source_sql}</solution>")
        lines.append(
            {"task_id": task_id, "actions": actions, "db": task.database, "gold": gold.source_sql, "peer": peer}
        )
    scripts, questions_file = folder / "scripts.jsonl", folder / "peer.json"
    scripts.write_text("".join(json.dumps({k: line[k] for k in ("task_id", "actions")}) + "\n" for line in lines))
    questions_file.write_text(json.dumps(lines))
    return Workload(source, task_set, scripts, questions_file)


@dataclass(frozen=True)
class Ran:
    """Steps per second, and CPU milliseconds a step by process."""

    steps_per_s: float
    cpu_ms: dict[str, float]


def on_ray(work: Workload, samples: int, actors: int, run: Path) -> Ran:
    """A rollout of ours, its actors being ready when the clock starts."""
    settings = work.config(samples, actors)
    specs = plan_episodes(settings, work.task_set)
    fleet = Fleet(settings, work.task_set, RunFolder.start(run, settings, work.task_set, specs, None))
    verdicts: Counter[str] = Counter()
    try:
        before, started = cpu_seconds(), time.perf_counter()
        driver = Driver(fleet, work.task_set, lambda done: verdicts.update(each.verdict for each in done))
        driver.drive(specs, settings.actors)
        seconds, after = time.perf_counter() - started, cpu_seconds()
    finally:
        fleet.close()
    check_correct(verdicts, len(specs))
    steps = len(specs) * STEPS
    used = {name: 1e3 * (after[name] - before.get(name, 0.0)) / steps for name in after}
    return Ran(steps / seconds, used)


def check_correct(verdicts: Mapping[str, int], episodes: int) -> None:
    """Raise if an episode of the gold answer was not judged correct: then it was not the work that is measured."""
    if verdicts != {"correct": episodes}:
        raise RuntimeError(f"{episodes} episodes with the gold answer, and the verdicts are {dict(verdicts)}")


def skyrl_gym(work: Workload, samples: int) -> float:
    """Steps per second of skyrl-gym's SQL environment: two processes, each with half of the episodes."""
    command = [sys.executable, str(Path(__file__).with_name("skyrl_peer.py")), str(work.peer), str(work.source)]
    halves = [
        subprocess.Popen([*command, str(samples), str(part)], stdout=subprocess.PIPE, text=True) for part in (0, 1)
    ]
    results = [json.loads(half.communicate()[0].strip().splitlines()[-1]) for half in halves]
    return float(sum(result["steps"] for result in results) / max(result["seconds"] for result in results))


def cpu_seconds() -> dict[str, float]:
    """CPU seconds so far of this process and all that it started, by what they are; of ended sandbox children too."""
    ours = psutil.Process()
    seconds: dict[str, float] = {}
    for process in [ours, *ours.children(recursive=True)]:
        try:
            times, kind = process.cpu_times(), _kind(process)
        except psutil.Error:
            continue
        kind = "driver" if process == ours else kind
        ended = times.children_user + times.children_system if kind == "sandbox children" else 0.0
        seconds[kind] = seconds.get(kind, 0.0) + times.user + times.system + ended
    return seconds


def _kind(process: psutil.Process) -> str:
    command = process.cmdline() or [process.name()]
    if command[0].startswith("ray::EnvActor"):
        return "env actors"
    if any("services.sandbox.zygote" in part for part in command):
        return "sandbox children"
    return "Ray's own processes"
