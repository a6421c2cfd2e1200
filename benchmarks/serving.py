"""Episodes a second by how a policy is reached: one batched Serve call a tick, a Serve call a step, HTTP a step.

The heuristic plays the built-in tasks, 32 episodes at once in one process with its sandbox. The policy is one replica
of `assay serve policy` (or, inline, an object of the same process). Rounds are interleaved, medians reported, and every
way has to give the same verdicts.

    python benchmarks/serving.py [--json] [--quick]
"""

import argparse
import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported
# ruff: noqa: E402

from benchmarks.outcome import print_outcome
from cluster.config import RolloutConfig
from cluster.listening import check_port
from cluster.plan import plan_episodes
from cluster.service import ServiceConfig
from cluster.serving import serve_as_configured
from cluster.session import ray_session
from cluster.tasksets.generated import builtin_folder
from services.contracts.policy import AnyTurn, AsyncPolicy, Decided
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.batching import Act, PolicyBatcher
from services.env_actor.play import Player
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.admission import Admission
from services.policy.handle import HandlePolicy
from services.policy.heuristic import HeuristicPolicy
from services.policy.registry import policy_maker
from services.policy.remote import OpenAIPolicy
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

NAME, APP, SEED = "heuristic", "policies", 3
EPISODES_AT_ONCE = 32
Played = tuple[float, Counter[str]]
"""Episodes a second, and the verdicts."""


def one_by_one(policy: AsyncPolicy) -> Act:
    """A call of the policy for each turn."""

    async def act(turn: AnyTurn) -> Decided:
        (decided,) = await policy.act([turn])
        return decided

    return act


class Hall:
    """Plays the same episodes with whatever policy."""

    def __init__(self, task_set: TaskSet, specs: Sequence[EpisodeSpec], pool: SandboxPool) -> None:
        self._task_set = task_set
        self._specs = specs
        self._pool = pool
        self._grader = GoldGrader.read(task_set.gold_path)
        self._catalogs = {name: task_set.catalog(name) for name in task_set.manifest.databases}

    async def play(self, act: Act, most: int | None = None) -> Played:
        """All episodes, or the first so many, EPISODES_AT_ONCE at a time."""
        specs = self._specs[:most]
        player = Player(self._pool, self._grader, act, EpisodeLimits())
        gate = asyncio.Semaphore(EPISODES_AT_ONCE)

        async def one(spec: EpisodeSpec) -> str:
            task = self._task_set.tasks[spec.task_id]
            async with gate:
                return (await player.play(spec, task, self._catalogs[task.database])).verdict

        started = time.perf_counter()
        verdicts = Counter(await asyncio.gather(*map(one, specs)))
        return len(specs) / (time.perf_counter() - started), verdicts


async def measure(url: str, samples: int, rounds: int) -> dict[str, list[float]]:
    """Episodes a second of each way, round by round."""
    task_set = TaskSet(await builtin_folder())
    plan = RolloutConfig(name="bench", policies=(NAME,), samples=samples, seed=SEED)
    paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
    async with SandboxPool(paths, SandboxLimits()) as pool, aclosing(HandlePolicy(APP, NAME)) as handle:
        ways: dict[str, Act] = {
            "inline": PolicyBatcher(HeuristicPolicy()).act,
            "batched_handle": PolicyBatcher(handle).act,
            "handle_a_step": one_by_one(handle),
            "http_a_step": one_by_one(OpenAIPolicy(url, NAME)),
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        hall = Hall(task_set, plan_episodes(plan, task_set), pool)
        _, expected = await hall.play(ways["inline"])  # warms what every way shares
        for act in ways.values():
            await hall.play(act, EPISODES_AT_ONCE)  # and what is its own: routers, connections
        for _ in range(rounds):
            for way, act in ways.items():
                rate, verdicts = await hall.play(act)
                if verdicts != expected:
                    raise RuntimeError(f"{way} gave {dict(verdicts)}, and inline {dict(expected)}")
                found[way].append(rate)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    samples, rounds = (1, 1) if options.quick else (4, 5)
    config = ServiceConfig(name=APP, policies=(NAME,), port=check_port("127.0.0.1", 0))
    with ray_session(), serve_as_configured({NAME: policy_maker(NAME)}, config, Admission()) as url:
        found = asyncio.run(measure(url, samples, rounds))
    figures = {f"episodes_per_s_{way}": statistics.median(values) for way, values in found.items()}
    for slower in ("handle_a_step", "http_a_step"):
        over = [one / other for one, other in zip(found["batched_handle"], found[slower], strict=True)]
        found[f"batched_over_{slower}"] = over
        figures[f"batched_over_{slower}"] = statistics.median(over)
    print_outcome("serving", figures, found, rounds, options.json)


if __name__ == "__main__":
    main()
