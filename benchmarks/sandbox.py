"""What the sandbox costs: grouped and cold rollouts beside skyrl-gym, a cached step, the guard, a child's return.

Two env actors on two cores play a scripted policy, 8 samples a task (grouped) and each task once (cold), beside
skyrl-gym 0.4.0 with two processes on the same questions and actions. Rounds are interleaved; medians are reported.
Below the figures: where the CPU time of the two rollouts goes.

    python benchmarks/sandbox.py [--json] [--quick] [--spider FOLDER]
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported

from benchmarks.local import play_locally  # noqa: E402
from benchmarks.outcome import print_outcome  # noqa: E402
from benchmarks.rivals import BATCH, STEPS, Ran, Workload, on_ray, prepare, skyrl_gym  # noqa: E402
from cluster.plan import plan_episodes  # noqa: E402
from cluster.session import ray_session  # noqa: E402
from services.contracts.trajectory import EpisodeSpec  # noqa: E402
from services.sandbox.engine import connect, lock  # noqa: E402
from services.sandbox.guard import Guard, parser_on  # noqa: E402
from services.sandbox.limits import SandboxLimits  # noqa: E402
from services.sandbox.pool import SandboxPool  # noqa: E402

GROUP = 8
AGAIN = 10
RESPAWNS = 40


def cached_step_us(work: Workload, run: Path) -> float:
    """CPU microseconds of a step whose statement is in the cache, all of the episode's work and its storage with it."""
    settings = work.config(GROUP, 1)
    specs = plan_episodes(settings, work.task_set)[: 100 * GROUP]
    once, often = _cpu_of(work, specs, 1, run / "1"), _cpu_of(work, specs, 1 + AGAIN, run / "2")
    return 1e6 * (often - once) / (AGAIN * len(specs) * STEPS)


def _cpu_of(work: Workload, specs: Sequence[EpisodeSpec], times: int, run: Path) -> float:
    started = time.process_time()
    asyncio.run(play_locally(work.config(GROUP, 1), work.task_set, list(specs) * times, run, BATCH))
    return time.process_time() - started


def guard_us(work: Workload) -> float:
    """CPU microseconds in which the guard reads a gold query: the parse, the walk over the tree, the facts."""
    statements = [json.loads(line)["actions"][2].removeprefix("QUERY ") for line in work.scripts.open()][:2_000]
    parser = parser_on(connect(512))
    lock(parser)
    guard = Guard(parser, {})
    started = time.process_time()
    for sql in statements:
        guard.inspect(sql)
    return 1e6 * (time.process_time() - started) / len(statements)


async def respawn_ms(work: Workload) -> list[float]:
    """Milliseconds from the kill of a child to the answer that its successor gives."""
    name = next(iter(work.task_set.manifest.databases))
    found = []
    async with SandboxPool({name: work.task_set.database_path(name)}, SandboxLimits()) as pool:
        for number in range(RESPAWNS):
            await pool.run(name, f"SELECT {number}")
            (child,) = [child for _, child in pool._idle]
            started = time.perf_counter()
            os.kill(child.pid, signal.SIGKILL)
            await pool.run(name, f"SELECT {number}, 2")
            found.append(1e3 * (time.perf_counter() - started))
    return found


def measure(work: Workload, folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, Ran]]:
    """All rounds, and the last rollouts."""
    found: dict[str, list[float]] = {}
    last: dict[str, Ran] = {}
    for round_ in range(rounds):
        for name, samples in (("grouped", GROUP), ("cold", 1)):
            run = folder / f"run{round_}-{name}"
            with ray_session():
                last[name] = on_ray(work, samples, 2, run)
            peer = skyrl_gym(work, samples)
            found.setdefault(f"{name}_steps_per_s", []).append(last[name].steps_per_s)
            found.setdefault(f"{name}_skyrl_gym_steps_per_s", []).append(peer)
            found.setdefault(f"{name}_over_skyrl_gym", []).append(last[name].steps_per_s / peer)
            shutil.rmtree(run, ignore_errors=True)
        found.setdefault("cached_step_us", []).append(cached_step_us(work, folder / f"cached{round_}"))
        found.setdefault("guard_us", []).append(guard_us(work))
    found["respawn_ms"] = asyncio.run(respawn_ms(work))
    return found, last


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--spider", type=Path)
    options = parser.parse_args()
    rounds, questions = (1, 20) if options.quick else (3, 300)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        found, last = measure(prepare(folder, options.spider, questions), folder, rounds)
    if not options.json:
        for rollout, ran in last.items():
            print(f"CPU ms a step, {rollout}: " + ", ".join(f"{k} {v:.3f}" for k, v in sorted(ran.cpu_ms.items())))
    print_outcome("sandbox", {k: statistics.median(v) for k, v in found.items()}, found, rounds, options.json)


if __name__ == "__main__":
    main()
