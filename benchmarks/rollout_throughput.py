"""Explore steps per second: one core without Ray, one actor, two actors, and skyrl-gym's SQL environment.

Every rival plays the same questions with the same four actions an episode: two looks at the data, the gold query, the
answer. (a) one process without Ray, pinned to one core with its sandbox child; (b) one env actor; (c) two env actors;
(d) skyrl-gym 0.4.0, two processes, SQLite. Rounds are interleaved; the median of the rounds is reported.

    python benchmarks/rollout_throughput.py [--json] [--quick] [--spider FOLDER]
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported

from benchmarks.workload import write_spider_like  # noqa: E402
from cluster.config import ActorsConfig, RolloutConfig, TasksConfig  # noqa: E402
from cluster.plan import plan_episodes  # noqa: E402
from cluster.session import ray_session  # noqa: E402
from cluster.tasksets.spider import import_spider  # noqa: E402
from services.env_actor.taskset import TaskSet  # noqa: E402
from services.grader.answers import submission  # noqa: E402
from services.grader.gold import read_gold  # noqa: E402

STEPS = 4
BATCH = 64


def prepare(folder: Path, spider: Path | None, questions: int) -> tuple[Path, TaskSet, Path]:
    """The source folder, the imported task set and the script file."""
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
    scripts = folder / "scripts.jsonl"
    scripts.write_text("".join(json.dumps({k: line[k] for k in ("task_id", "actions")}) + "\n" for line in lines))
    (folder / "peer.json").write_text(json.dumps(lines))
    return source, task_set, scripts


def config(task_set: TaskSet, scripts: Path, samples: int, actors: int) -> RolloutConfig:
    """The rollout that every one of ours plays."""
    return RolloutConfig(
        name="bench",
        tasks=TasksConfig(path=str(task_set.folder)),
        policies=(f"scripted:{scripts}",),
        samples=samples,
        actors=ActorsConfig(count=actors, cpus=0.5, memory_mb=512, batch=BATCH),
    )


def one_core(task_set: TaskSet, scripts: Path, samples: int, run: Path) -> float:
    """Steps per second of (a), in a process of its own that is pinned to one core."""
    command = [sys.executable, __file__, "--single-core", str(task_set.folder), str(scripts), str(samples), str(run)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def play_on_one_core(folder: Path, scripts: Path, samples: int, run: Path) -> float:
    """The body of (a): the env actor's own code and the sink's, without Ray."""
    from benchmarks.local import play_locally

    os.sched_setaffinity(0, {0})
    task_set = TaskSet(folder)
    settings = config(task_set, scripts, samples, 1)
    specs = plan_episodes(settings, task_set)
    seconds = asyncio.run(play_locally(settings, task_set, specs, run, BATCH))
    return len(specs) * STEPS / seconds


def on_ray(task_set: TaskSet, scripts: Path, samples: int, actors: int, run: Path) -> float:
    """Steps per second of (b) and (c), actors and sink being ready when the clock starts."""
    from cluster.driver import Driver
    from cluster.wiring import Fleet

    settings = config(task_set, scripts, samples, actors)
    specs = plan_episodes(settings, task_set)
    fleet = Fleet(settings, task_set, run)
    try:
        started = time.perf_counter()
        Driver(fleet, task_set, lambda summaries: None).drive(specs, BATCH)
        seconds = time.perf_counter() - started
    finally:
        fleet.close()
    return len(specs) * STEPS / seconds


def skyrl_gym(folder: Path, source: Path, samples: int) -> float:
    """Steps per second of (d): two processes, each with half of the episodes."""
    command = [sys.executable, str(Path(__file__).with_name("skyrl_peer.py")), str(folder / "peer.json"), str(source)]
    halves = [
        subprocess.Popen([*command, str(samples), str(part)], stdout=subprocess.PIPE, text=True) for part in (0, 1)
    ]
    results = [json.loads(half.communicate()[0].strip().splitlines()[-1]) for half in halves]
    return sum(result["steps"] for result in results) / max(result["seconds"] for result in results)


def measure(folder: Path, spider: Path | None, rounds: int, questions: int, samples: int) -> dict[str, list[float]]:
    """All rounds of all rivals."""
    source, task_set, scripts = prepare(folder, spider, questions)
    found: dict[str, list[float]] = {"single_core": [], "one_actor": [], "two_actors": [], "skyrl_gym": []}
    with ray_session():
        for round_ in range(rounds):
            run = folder / f"run{round_}"
            found["single_core"].append(one_core(task_set, scripts, samples, run / "a"))
            found["one_actor"].append(on_ray(task_set, scripts, samples, 1, run / "b"))
            found["two_actors"].append(on_ray(task_set, scripts, samples, 2, run / "c"))
            found["skyrl_gym"].append(skyrl_gym(folder, source, samples))
            shutil.rmtree(run, ignore_errors=True)
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--spider", type=Path)
    options = parser.parse_args(arguments)
    rounds, questions, samples = (1, 20, 1) if options.quick else (5, 100, 4)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        Path(folder).chmod(0o755)
        found = measure(Path(folder), options.spider, rounds, questions, samples)
    middle = {name: statistics.median(values) for name, values in found.items()}
    figures = {
        "steps_per_s_single_core": middle["single_core"],
        "steps_per_s_one_actor": middle["one_actor"],
        "steps_per_s_two_actors": middle["two_actors"],
        "steps_per_s_skyrl_gym": middle["skyrl_gym"],
        "two_actors_over_single_core": statistics.median(
            c / a for a, c in zip(found["single_core"], found["two_actors"], strict=True)
        ),
        "over_skyrl_gym": statistics.median(
            c / d for c, d in zip(found["two_actors"], found["skyrl_gym"], strict=True)
        ),
    }
    spread = {name: [min(values), max(values)] for name, values in found.items()}
    if not options.json:
        for name, value in figures.items():
            print(f"{name:32} {value:10.2f}")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    result = {"benchmark": "rollout_throughput", "figures": figures, "runs": rounds, "spread": spread}
    print(json.dumps({**result, "machine": machine}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--single-core"]:
        print(play_on_one_core(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])))
    else:
        main(sys.argv[1:])
