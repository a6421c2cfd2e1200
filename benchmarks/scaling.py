"""What a node more costs: episodes per CPU second on 1, 2, 3 Ray nodes of the same total CPU, and the driver's part.

Nodes are raylets of one machine (ray.cluster_utils.Cluster), six actors in all. Wall time means nothing where nodes
share cores, so work is counted by the CPU seconds of every process: driver, actors, sandbox children, and Ray's own.
Rounds are interleaved. The model of docs/scaling.md is fitted to these figures.

    python benchmarks/scaling.py [--json] [--quick] [--episodes N]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported

import psutil  # noqa: E402
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from benchmarks.outcome import print_outcome  # noqa: E402
from benchmarks.rivals import STEPS, Workload, cpu_seconds, prepare  # noqa: E402
from cluster.driver import Driver  # noqa: E402
from cluster.plan import plan_episodes  # noqa: E402
from cluster.run import RunFolder  # noqa: E402
from cluster.wiring import Fleet  # noqa: E402
from services.env_actor.actor import EpisodeSummary  # noqa: E402

ACTORS = 6
NODES = (1, 2, 3)
MB = 1024 * 1024
OnDone = Callable[[Sequence[EpisodeSummary]], None]


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a rollout by process, and what it played."""

    episodes: int
    seconds: float
    cpu_s: dict[str, float]

    @property
    def episodes_per_cpu_s(self) -> float:
        """Of all processes together."""
        return self.episodes / sum(self.cpu_s.values())

    @property
    def driver_per_1000_steps(self) -> float:
        """CPU seconds of the driver for 1,000 steps: the share of a core that it takes at 1,000 steps a second."""
        return self.cpu_s["driver"] / (self.episodes * STEPS / 1000)


@contextmanager
def ray_nodes(count: int) -> Iterator[None]:
    """A Ray cluster of so many nodes on this machine; the actors fill it."""
    node = {"num_cpus": ACTORS // count, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=node)  # type: ignore[no-untyped-call]
    try:
        for _ in range(count - 1):
            started.add_node(num_cpus=node["num_cpus"])  # type: ignore[no-untyped-call]
        ray.init(address=started.address, logging_level="WARNING")
        yield
    finally:
        ray.shutdown()
        started.shutdown()  # type: ignore[no-untyped-call]


def rollout(work: Workload, samples: int, actors: int, folder: Path, also: OnDone) -> Cost:
    """A rollout whose actors are ready when the clock starts."""
    settings = work.config(samples, actors)
    settings = settings.model_copy(update={"actors": settings.actors.model_copy(update={"cpus": 1.0})})
    specs = plan_episodes(settings, work.task_set)
    fleet = Fleet(settings, work.task_set, RunFolder.start(folder, settings, work.task_set, specs, None))
    try:
        before, started = cpu_seconds(), time.perf_counter()
        Driver(fleet, work.task_set, also).drive(specs, settings.actors)
        seconds, after = time.perf_counter() - started, cpu_seconds()
    finally:
        fleet.close()
    used = {kind: after[kind] - before.get(kind, 0.0) for kind in after}
    return Cost(len(specs), seconds, used)


def grown_mb(work: Workload, samples: int, folder: Path) -> dict[str, float]:
    """By how much the driver and the env actors grew in the second half of a long rollout."""
    done, half = 0, len(work.task_set.tasks) * samples // 2
    sizes: dict[str, float] = {}

    def look(summaries: Sequence[EpisodeSummary]) -> None:
        nonlocal done
        done += len(summaries)
        if not sizes and done >= half:
            sizes.update(_resident_mb())
        if done >= 2 * half:
            after = _resident_mb()
            sizes.update({kind: after[kind] - sizes[kind] for kind in sizes})

    with ray_nodes(1):
        rollout(work, samples, 2, folder, look)
    return sizes


def _resident_mb() -> dict[str, float]:
    ours = psutil.Process()
    actors = [child for child in ours.children(recursive=True) if (child.cmdline() or [""])[0].startswith("ray::Env")]
    return {"driver": ours.memory_info().rss / MB, "env_actors": sum(one.memory_info().rss for one in actors) / MB}


def measure(work: Workload, folder: Path, rounds: int, samples: int) -> tuple[dict[str, list[float]], list[Cost]]:
    """All rounds; and the costs on one node, for the model."""
    found: dict[str, list[float]] = {}
    single: list[Cost] = []
    for round_ in range(rounds):
        costs = {}
        for nodes in NODES:
            with ray_nodes(nodes):
                costs[nodes] = rollout(work, samples, ACTORS, folder / f"{round_}-{nodes}", lambda done: None)
            found.setdefault(f"episodes_per_cpu_s_{nodes}", []).append(costs[nodes].episodes_per_cpu_s)
        single.append(costs[1])
        ratio = costs[3].episodes_per_cpu_s / costs[1].episodes_per_cpu_s
        found.setdefault("three_nodes_over_one", []).append(ratio)
        found.setdefault("driver_cpu_share_per_1000_steps", []).append(costs[1].driver_per_1000_steps)
    return found, single


def by_process(costs: Sequence[Cost]) -> dict[str, float]:
    """CPU milliseconds of an episode on one node, by process."""
    kinds = sorted({kind for cost in costs for kind in cost.cpu_s})
    return {
        f"cpu_ms_an_episode {kind}": statistics.median(
            1e3 * cost.cpu_s.get(kind, 0.0) / cost.episodes for cost in costs
        )
        for kind in kinds
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the JSON line only")
    parser.add_argument("--quick", action="store_true", help="one round of few episodes")
    parser.add_argument("--episodes", type=int, default=50_000, help="of the rollout whose memory is watched")
    parser.add_argument("--spider", type=Path, help="a folder in Spider's layout")
    asked = parser.parse_args()
    rounds, samples, long = (1, 2, 2_000) if asked.quick else (5, 16, asked.episodes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the sandbox's children have other rights
        work = prepare(folder, asked.spider, 50 if asked.quick else 300)
        found, single = measure(work, folder, rounds, samples)
        grown = grown_mb(work, max(1, round(long / len(work.task_set.tasks))), folder / "long")
    figures = {name: statistics.median(values) for name, values in found.items()}
    figures |= by_process(single) | {f"{kind}_grown_mb": size for kind, size in grown.items()}
    print_outcome("scaling", figures, found, rounds, asked.json)


if __name__ == "__main__":
    main()
