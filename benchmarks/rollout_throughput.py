"""Explore steps per second: one core without Ray, one actor, two actors, and skyrl-gym's SQL environment.

(a) one process without Ray, pinned to one core with its sandbox child; (b) one env actor; (c) two env actors;
(d) skyrl-gym 0.4.0, two processes, SQLite; (e) two of (a) at once, a core each: what the machine has to give, as
nothing is shared. Same tasks, actions, caches and code for (a), (b), (c) and (e). Rounds are interleaved; the
median of the rounds is reported.

    python benchmarks/rollout_throughput.py [--json] [--quick] [--spider FOLDER]
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported

from benchmarks.outcome import print_outcome  # noqa: E402
from benchmarks.rivals import BATCH, STEPS, Workload, on_ray, prepare, skyrl_gym  # noqa: E402
from cluster.plan import plan_episodes  # noqa: E402
from cluster.session import ray_session  # noqa: E402
from services.env_actor.taskset import TaskSet  # noqa: E402

OVER = {
    "two_actors_over_single_core": "single_core",
    "two_actors_over_two_single_cores": "two_single_cores",
    "over_skyrl_gym": "skyrl_gym",
}
"""The ratios, all of the two actors, and over whom."""


def single_cores(work: Workload, samples: int, run: Path, cores: int) -> float:
    """Steps per second of so many of (a) at once, each in a process of its own that is pinned to one core."""
    parts = (work.source, work.task_set.folder, work.scripts, work.peer, samples)
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--single-core", *map(str, parts), str(run / str(core)), str(core)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in range(cores)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError("a process without Ray failed; what it said is above")
    return sum(float(each.strip().splitlines()[-1]) for each in said)


def play_on_one_core(work: Workload, samples: int, run: Path, core: int) -> float:
    """The body of (a): the env actor's own code and the sink's, without Ray."""
    from benchmarks.local import play_locally

    os.sched_setaffinity(0, {core})
    settings = work.config(samples, 1)
    specs = plan_episodes(settings, work.task_set)
    return len(specs) * STEPS / asyncio.run(play_locally(settings, work.task_set, specs, run, BATCH))


def measure(folder: Path, spider: Path | None, rounds: int, questions: int, samples: int) -> dict[str, list[float]]:
    """All rounds of all rivals."""
    work = prepare(folder, spider, questions)
    rivals = ("single_core", "two_single_cores", "one_actor", "two_actors", "skyrl_gym")
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for round_ in range(rounds):
        run = folder / f"run{round_}"
        found["single_core"].append(single_cores(work, samples, run / "a", 1))  # before Ray is there
        found["two_single_cores"].append(single_cores(work, samples, run / "e", 2))
        with ray_session():
            found["one_actor"].append(on_ray(work, samples, 1, run / "b").steps_per_s)
            found["two_actors"].append(on_ray(work, samples, 2, run / "c").steps_per_s)
        found["skyrl_gym"].append(skyrl_gym(work, samples))
        shutil.rmtree(run, ignore_errors=True)
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--spider", type=Path)
    options = parser.parse_args(arguments)
    rounds, questions, samples = (1, 20, 1) if options.quick else (5, 900, 4)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        Path(folder).chmod(0o755)
        found = measure(Path(folder), options.spider, rounds, questions, samples)
    figures = {f"steps_per_s_{name}": statistics.median(values) for name, values in found.items()}
    for name, other in OVER.items():
        found[name] = ratios(found["two_actors"], found[other])
        figures[name] = statistics.median(found[name])
    print_outcome("rollout_throughput", figures, found, rounds, options.json)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--single-core"]:
        source, task_set, scripts, peer, samples, run, core = sys.argv[2:]
        work = Workload(Path(source), TaskSet(Path(task_set)), Path(scripts), Path(peer))
        print(play_on_one_core(work, int(samples), Path(run), int(core)))
    else:
        main(sys.argv[1:])
