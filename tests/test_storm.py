"""Whatever happens to a run and its bucket: its rows are those of a calm run, each once, and nothing stays behind."""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cluster.mirror import Mirror
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder
from cluster.session import ray_session
from services.contracts.errors import Infrastructure
from services.env_actor.taskset import TaskSet
from tests.bucket import ENVIRONMENT, Bucket
from tests.test_kills import KINDS, calm_rows, config_of, named, rows_of

PAUSE_S = (0.1, 1.5)
SESSIONS = 20


class Storm:
    """Makes seeded moves at seeded episode counts: kills a process, stops one for a while, or takes the bucket away.

    It touches only what descends from this process. What is not there when it is due is hit later.
    """

    def __init__(self, seed: int, episodes: int, times: int, bucket: Bucket) -> None:
        self._rng = random.Random(seed)
        moves = [f"{what} {kind}" for what in ("kill", "stop") for kind in KINDS] + ["bucket away"]
        self._left = sorted((self._rng.randrange(1, episodes * 8 // 10), move) for move in moves * times)
        self._bucket = bucket
        self._ends: list[threading.Thread] = []
        self._episodes = 0
        self.done: Counter[str] = Counter()

    def on_done(self, summaries: Sequence[object]) -> None:
        self._episodes += len(summaries)
        for moment in [moment for moment in self._left if moment[0] <= self._episodes]:
            if self._move(*moment[1].split()):
                self._left.remove(moment)
                self.done[moment[1]] += 1

    def settle(self) -> None:
        """Wait until whatever was stopped goes on and the bucket is there."""
        for end in self._ends:
            end.join()
        self._ends.clear()

    def _move(self, what: str, kind: str) -> bool:
        if kind == "away":
            self.settle()
            self._bucket.stop()
            self._later(self._bucket.start)
            return True
        found = [process for process in psutil.Process().children(recursive=True) if named(process, kind)]
        if not found:
            return False
        victim = self._rng.choice(sorted(found, key=lambda process: process.pid))
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL if what == "kill" else signal.SIGSTOP)
        if what == "stop":
            self._later(lambda: _go_on(victim))
        return True

    def _later(self, end: object) -> None:
        timer = threading.Timer(self._rng.uniform(*PAUSE_S), end)  # type: ignore[arg-type]
        timer.start()
        self._ends.append(timer)


def _go_on(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    made = Bucket()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cluster(bucket: Bucket) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with ray_session():
            yield


def weather(seed: int, samples: int, times: int, task_set: TaskSet, bucket: Bucket, folder: Path) -> Storm:
    """Play in sessions, each after the first resumed: a bucket that is away for too long ends one."""
    prepared = prepare(config_of(task_set, samples), task_set, None)
    mirror, storm = Mirror(bucket.url(f"storm-{seed}")), Storm(seed, len(prepared.specs), times, bucket)
    run = RunFolder.start(folder / "run", prepared.config, task_set, prepared.specs, None, mirror)
    for _ in range(SESSIONS):
        with suppress(Infrastructure):
            report = run_rollout(prepared, run, storm.on_done)
            break
        storm.settle()
        run = RunFolder.resume(folder / "run", prepared.config, task_set, None, mirror)
    storm.settle()
    assert (report.planned, report.faulted) == (len(prepared.specs), 0)
    copy = RunFolder.open(folder / "copy", mirror)
    copy.check_complete(prepared.specs)
    assert rows_of(copy.path) == rows_of(run.path) == calm_rows(prepared.config, task_set, None, folder / "calm")
    assert {path.suffix for path in (run.path / "trajectories").iterdir()} == {".parquet"}
    left = [p for p in psutil.Process().children(recursive=True) if any(named(p, kind) for kind in KINDS)]
    assert psutil.wait_procs(left, timeout=60)[1] == []
    return storm


def test_a_storm_changes_no_row(cluster: None, builtin: TaskSet, bucket: Bucket, tmp_path: Path) -> None:
    storm = weather(1, 1, 1, builtin, bucket, tmp_path)
    assert len(storm.done) == 9


@pytest.mark.soak
@pytest.mark.parametrize("seed", [21, 22, 23, 24, 25])
def test_a_long_storm_changes_no_row(
    cluster: None, builtin: TaskSet, bucket: Bucket, tmp_path: Path, seed: int
) -> None:
    storm = weather(seed, 10, 8, builtin, bucket, tmp_path)
    assert storm.done.total() >= 64
