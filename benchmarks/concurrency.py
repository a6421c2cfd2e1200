"""Many episodes at once in one env actor, while each decision of the policy takes a second.

The policy is inline and asynchronous: it sleeps for a second and then acts by a script of eight steps an episode (four
looks, a statement that no other episode sends, two that others send too, the answer). Real Ray: one env actor with its
sandbox on two cores, a driver. An answer is verified as in any rollout; every one has to come out correct.
`steps_per_s` counts from the first episode handed out to the last one stored: the rise and the end are in it.

    python benchmarks/concurrency.py [--json] [--quick] [--http] [--at-once N --episodes N]

`--http` has the same script played by a model behind a real OpenAI-compatible server (a process of its own on the same
machine), which answers after a second: the client's CPU time for each call counts too.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported

import psutil  # noqa: E402

from benchmarks.outcome import print_outcome  # noqa: E402
from cluster.config import ActorsConfig, RolloutConfig, TasksConfig  # noqa: E402
from cluster.driver import Driver  # noqa: E402
from cluster.plan import plan_episodes  # noqa: E402
from cluster.run import RunFolder  # noqa: E402
from cluster.session import ray_session  # noqa: E402
from cluster.tasksets.opening import open_task_set  # noqa: E402
from cluster.wiring import Fleet, Makers  # noqa: E402
from services.contracts.actions import Action  # noqa: E402
from services.contracts.policy import AnyTurn  # noqa: E402
from services.env_actor.taskset import TaskSet  # noqa: E402
from services.grader.answers import submission  # noqa: E402
from services.grader.gold import read_gold  # noqa: E402
from services.policy.llm.settings import ModelSettings  # noqa: E402
from services.policy.scripted import ScriptedPolicy  # noqa: E402

STEPS = 8
THINKS_S = 1.0
OWN = "SEED"
"""Stands in a script for a number that no other episode has."""


class Slow:
    """Acts by a script, a second after it is asked; any number of episodes at once."""

    def __init__(self, scripts: Path, thinks_s: float) -> None:
        self._scripted = ScriptedPolicy.read(scripts)
        self._thinks_s = thinks_s

    async def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order."""
        return list(await asyncio.gather(*map(self.decide, turns)))

    async def decide(self, turn: AnyTurn) -> Action:
        """The action of one turn."""
        await asyncio.sleep(self._thinks_s)
        (action,) = self._scripted.act([turn])
        text = action.model_dump_json().replace(OWN, str(random.Random(turn.seed).randrange(10**9)))
        return type(action).model_validate_json(text)


@dataclass(frozen=True)
class Played:
    """What one run came to."""

    steps_per_s: float
    peak_gb: float
    cpu_ms_a_step: float
    episodes: int
    correct: int


class Watch:
    """What the env actor and its sandbox children take together, looked at twice a second: the most memory (PSS), and
    the CPU time of the actor alone, which is one thread.
    """

    def __init__(self) -> None:
        self.peak = 0
        self.actor_cpu_s = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.5):
            processes = psutil.Process().children(recursive=True)
            self.peak = max(self.peak, sum(map(_taken, processes)))
            self.actor_cpu_s = max([self.actor_cpu_s, *map(_actor_cpu_s, processes)])


def _taken(process: psutil.Process) -> int:
    """Bytes of an env actor or of a process that it started; 0 of any other."""
    try:
        line = [process, *process.parents()]
        ours = any(one.cmdline()[:1] and one.cmdline()[0].startswith("ray::EnvActor") for one in line)
        return int(process.memory_full_info().pss) if ours else 0
    except (psutil.Error, OSError):
        return 0


def _actor_cpu_s(process: psutil.Process) -> float:
    """CPU seconds of an env actor's own process; 0 of any other."""
    try:
        spent = process.cpu_times()
        return spent.user + spent.system if process.cmdline()[0].startswith("ray::EnvActor") else 0.0
    except (psutil.Error, OSError, IndexError):
        return 0.0


def write_scripts(task_set: TaskSet, path: Path) -> None:
    """Eight steps for each task: looks, statements, and the right answer."""
    golds = read_gold(task_set.gold_path)
    with path.open("w", encoding="utf-8") as file:
        for task_id, task in task_set.tasks.items():
            one, two = (table.name for table in task_set.catalog(task.database).tables[:2])
            looks = [f"DESCRIBE {one}", f"DESCRIBE {two}", f"SAMPLE {one}", f"SAMPLE {two}"]
            asked = [f'SELECT count(*), {OWN} FROM "{one}"', f'SELECT * FROM "{two}" LIMIT 3', golds[task_id].gold_sql]
            actions = [*looks, *(f"QUERY {sql}" for sql in asked), f"ANSWER {submission(golds[task_id].gold_answer)}"]
            file.write(json.dumps({"task_id": task_id, "actions": actions}) + "\n")


def play(at_once: int, episodes: int, run: Path, policy: str, makers: Makers | None) -> Played:
    """Episodes of the built-in tasks on one env actor, so many of them at once."""
    task_set = open_task_set("builtin")
    config = RolloutConfig(
        name="concurrency",
        tasks=TasksConfig(),
        policies=(policy,),
        samples=-(-episodes // len(task_set.tasks)),
        models={} if makers is not None else {policy: ModelSettings(requests_at_once=at_once)},
        actors=ActorsConfig(count=1, cpus=1.8, memory_mb=8192, batch=64, episodes_at_once=at_once),
    )
    specs = plan_episodes(config, task_set)
    random.Random(0).shuffle(specs)
    specs = specs[:episodes]
    verdicts: Counter[str] = Counter()
    steps = 0

    def on_done(done: Sequence[object]) -> None:
        nonlocal steps
        verdicts.update(each.verdict for each in done)  # type: ignore[attr-defined]
        steps += sum(each.steps for each in done)  # type: ignore[attr-defined]

    folder = RunFolder.start(run, config, task_set, specs, None)
    fleet = Fleet(config, task_set, folder, makers)
    try:
        with Watch() as watch:
            started = time.perf_counter()
            Driver(fleet, task_set, on_done).drive(specs, config.actors)
            seconds = time.perf_counter() - started
    finally:
        fleet.close()
    folder.check_complete(specs)
    cpu_ms = 1e3 * watch.actor_cpu_s / steps
    return Played(steps / seconds, watch.peak / 1e9, cpu_ms, sum(verdicts.values()), verdicts["correct"])


def check(played: Played, episodes: int) -> Played:
    """The same; raises if an episode is missing or is not what it should be."""
    if (played.episodes, played.correct) != (episodes, episodes):
        raise RuntimeError(f"{episodes} episodes with the right answer, and there are {played}")
    return played


def measure(folder: Path, sizes: Sequence[tuple[int, int]], http: bool) -> dict[str, list[float]]:
    """Steps per second and peak memory for so many at once and so many in all."""
    scripts = folder / "scripts.jsonl"
    write_scripts(open_task_set("builtin"), scripts)
    found: dict[str, list[float]] = {}
    for at_once, episodes in sizes:
        policy, makers, server = "slow", {"slow": partial(Slow, scripts, THINKS_S)}, None
        if http:
            server, url = serve(scripts)
            policy, makers = f"openai:slow@{url}", None
        try:
            with ray_session():
                run = folder / f"run-{at_once}-{time.monotonic_ns()}"
                played = check(play(at_once, episodes, run, policy, makers), episodes)
        finally:
            if server is not None:
                server.kill()
                server.wait()
        found.setdefault(f"steps_per_s_{at_once}", []).append(played.steps_per_s)
        found.setdefault(f"peak_gb_{at_once}", []).append(played.peak_gb)
        found.setdefault(f"actor_cpu_ms_a_step_{at_once}", []).append(played.cpu_ms_a_step)
    return found


def serve(scripts: Path) -> tuple["subprocess.Popen[str]", str]:
    """A server of the script in a process of its own, and its URL."""
    command = [sys.executable, str(Path(__file__).with_name("slow_server.py")), str(scripts), str(THINKS_S)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--at-once", type=int, help="one size of your own")
    parser.add_argument("--episodes", type=int, default=1_000)
    options = parser.parse_args(arguments)
    rounds = [(1_000, 3_000)] if options.quick else [(1_000, 5_000)] * 3 + [(5_000, 15_000)]
    if options.at_once:
        rounds = [(options.at_once, options.episodes)]
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        Path(folder).chmod(0o755)
        found = measure(Path(folder), rounds, options.http)
    figures = {name: sorted(values)[len(values) // 2] for name, values in found.items()}
    if "steps_per_s_1000" in figures:
        figures["steps_per_s"], figures["peak_gb"] = figures["steps_per_s_1000"], max(found["peak_gb_1000"])
    print_outcome("concurrency_http" if options.http else "concurrency", figures, found, len(rounds), options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
