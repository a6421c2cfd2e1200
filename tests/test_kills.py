"""Whatever is killed with -9 in a run: each planned episode is there once in the end, with the rows of a calm run."""

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from cluster.config import ActorsConfig, RolloutConfig, TasksConfig
from cluster.models import makers_of
from cluster.parcel import unpack
from cluster.plan import plan_episodes
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.session import ray_session
from cluster.sink import TRAJECTORIES, Sink, recover, stored_episodes
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of
from tests.test_sink import ids

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 90.0
KINDS = ("actor", "child", "zygote")
Rows = list[dict[str, Any]]


def config_of(task_set: TaskSet, samples: int = 1) -> RolloutConfig:
    """A config whose limits a busy machine does not reach."""
    return RolloutConfig(
        name="kills",
        tasks=TasksConfig(path=str(task_set.folder)),
        policies=("random", "heuristic"),
        samples=samples,
        seed=5,
        limits=EpisodeLimits(deadline_s=600),
        sandbox=SandboxLimits(statement_s=30),
        actors=ActorsConfig(count=2, cpus=0.5, memory_mb=512, batch=6, episodes_at_once=6),
    )


def rows_of(run: Path) -> Rows:
    """All rows without their timings, sorted."""
    files = (run / TRAJECTORIES).glob("*.parquet")
    found = [row for path in files for row in pq.read_table(path).drop_columns(["timings"]).to_pylist()]
    return sorted(found, key=lambda row: str(row["episode_id"]))


def calm_rows(config: RolloutConfig, task_set: TaskSet, limit: int | None, folder: Path) -> Rows:
    """The rows of the same episodes, played in this process by one actor that nobody disturbs."""
    sink = Sink(folder, "calm")

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        sink.append(to_table(trajectories))

    async def play() -> None:
        setup = ActorSetup(
            task_set=address_of(task_set),
            limits=config.limits,
            sandbox=config.sandbox,
            episodes_at_once=config.actors.episodes_at_once,
        )
        actor = EnvActor(setup, makers_of(config), GoldGrader.read, deliver)
        await actor.play(plan_episodes(config, task_set, limit))
        actor.close()

    asyncio.run(play())
    sink.close()
    return rows_of(folder)


def named(process: psutil.Process, kind: str) -> bool:
    """Whether a process is of a kind: by its name, or by what it descends from."""
    try:
        command = process.cmdline() or [""]
        if kind == "actor":
            return command[0].startswith("ray::EnvActor")
        if not any("services.sandbox.zygote" in part for part in command):
            return False
        parent = process.parent()
        return parent is not None and named(parent, "actor" if kind == "zygote" else "zygote")
    except psutil.NoSuchProcess:
        return False


class Killer:
    """Kills a process of each kind `times` times at seeded episode counts, and an actor once all episodes are played.

    With an actor goes its sink.

    It looks among the descendants of this process only.
    """

    def __init__(self, seed: int, episodes: int, times: int) -> None:
        rng = random.Random(seed)
        moments = [(rng.randrange(1, episodes * 8 // 10), kind) for kind in KINDS for _ in range(times)]
        self._left = [*sorted(moments), (episodes, "actor")]
        self._rng = rng
        self._done = 0
        self.killed: Counter[str] = Counter()

    def on_done(self, summaries: Sequence[object]) -> None:
        """Kill what is due; what is not there now is killed later."""
        self._done += len(summaries)
        due = [moment for moment in self._left if moment[0] <= self._done]
        for moment in due:
            if self._kill(moment[1]):
                self._left.remove(moment)

    def _kill(self, kind: str) -> bool:
        found = [process for process in psutil.Process().children(recursive=True) if named(process, kind)]
        if not found:
            return False
        victim = self._rng.choice(sorted(found, key=lambda process: process.pid))
        victim.kill()
        self.killed[kind] += 1
        return True


@pytest.fixture
def cluster() -> Iterator[None]:
    with ray_session():
        yield


def play_under_kills(config: RolloutConfig, task_set: TaskSet, killer: Killer, out: Path, limit: int | None) -> Rows:
    prepared = prepare(config, task_set, limit)
    run = RunFolder.start(out, config, task_set, prepared.specs, limit)
    report = run_rollout(prepared, run, killer.on_done)
    assert report.faulted == 0
    assert {path.suffix for path in (out / TRAJECTORIES).iterdir()} == {".parquet"}
    return rows_of(out)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_many_kills_in_a_long_run_change_no_row(cluster: None, builtin: TaskSet, tmp_path: Path, seed: int) -> None:
    config = config_of(builtin, samples=10)
    killer = Killer(seed, 2000, 20)
    rows = play_under_kills(config, builtin, killer, tmp_path / "run", None)
    assert rows == calm_rows(config, builtin, None, tmp_path / "calm")
    assert len(rows) == 2000
    assert min(killer.killed[kind] for kind in KINDS) >= 18


DYING_AT_THE_END = """
import os, signal
from cluster.session import prepare_environment
prepare_environment()
from cluster import wiring
from cluster.cli import app
wiring.Fleet.close = lambda self: os.kill(os.getpid(), signal.SIGKILL)
app()
"""


def command(*arguments: object, code: str | None = None) -> list[str]:
    start = ["-m", "cluster.cli"] if code is None else ["-c", code]
    return [sys.executable, *start, *map(str, arguments)]


def awaited(condition: Callable[[], bool], driver: "subprocess.Popen[bytes]") -> None:
    """Return once the condition holds. Fails if the driver ends first or time runs out."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert driver.poll() is None, "the driver ended by itself"
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def safe(run: Path) -> int:
    """How many episodes are in logs and files."""
    folder = run / TRAJECTORIES
    logs = [path.read_bytes() for path in folder.glob("*.log")]
    logged = {row for log in logs for table in unpack(log) for row in table["episode_id"].to_pylist()}
    return len(logged | set(stored_episodes(folder)))


def kill_driver(driver: "subprocess.Popen[bytes]", when: Callable[[], bool]) -> None:
    """Kill a driver when a condition holds, and wait until what it had started has ended by itself.

    Ray's two agents of a node hold nothing of a run; they notice only after a minute.
    """
    awaited(when, driver)
    started = [p for p in psutil.Process(driver.pid).children(recursive=True) if not p.name().endswith("Agent")]
    driver.kill()
    driver.wait()
    gone, alive = psutil.wait_procs(started, timeout=PATIENCE_S)
    assert gone
    assert not alive


def test_a_killed_driver_s_run_is_finished_by_resume(builtin: TaskSet, tmp_path: Path) -> None:
    out, file = tmp_path / "run", tmp_path / "kills.yaml"
    config = config_of(builtin, samples=5)
    file.write_text(config.model_dump_json())  # JSON is YAML
    arguments = ("rollout", file, "--out", out)
    count = random.Random(2).randrange(20, 400)
    kill_driver(subprocess.Popen(command(*arguments), cwd=ROOT), lambda: safe(out) >= count)
    assert count <= safe(out) < 1000

    dying = subprocess.run(command(*arguments, "--resume", code=DYING_AT_THE_END), cwd=ROOT, timeout=PATIENCE_S)
    assert dying.returncode == -signal.SIGKILL
    assert safe(out) == 1000
    assert not (out / "report.json").exists()

    done = subprocess.run(command(*arguments, "--resume"), cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0
    assert rows_of(out) == calm_rows(config, builtin, None, tmp_path / "calm")
    assert {path.suffix for path in (out / TRAJECTORIES).iterdir()} == {".parquet"}


DYING_IN_A_ROLL = """
import os, signal, sys
from pathlib import Path
from cluster import sink
from tests.test_sink import records
stage, calls = int(sys.argv[2]), []
synced = sink._sync
def dying(path):
    calls.append(path)
    if len(calls) == stage:
        os.kill(os.getpid(), signal.SIGKILL)
    synced(path)
sink._sync = dying
writer = sink.Sink(Path(sys.argv[1]), "a")
writer.append(records(0, 20))
writer.roll()
"""


@pytest.mark.parametrize("stage", [1, 2], ids=["written but not renamed", "renamed but still logged"])
def test_a_sink_killed_between_log_and_parquet_loses_and_doubles_nothing(tmp_path: Path, stage: int) -> None:
    killed = subprocess.run([sys.executable, "-c", DYING_IN_A_ROLL, tmp_path, str(stage)], cwd=ROOT, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    recover(tmp_path)
    assert list(stored_episodes(tmp_path / TRAJECTORIES)) == ids(0, 20)
    assert {path.suffix for path in (tmp_path / TRAJECTORIES).iterdir()} == {".parquet"}
