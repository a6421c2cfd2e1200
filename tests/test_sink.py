"""What the sink has acknowledged is there, whole and once, whatever happens to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import sink as sinks
from cluster.parcel import pack
from cluster.schema import SCHEMA, to_row, to_table
from cluster.sink import TRAJECTORIES, Sink, recover, stored_episodes
from services.contracts.errors import SinkFault
from services.contracts.tasks import Task
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.play import faulted

TASK = Task(task_id="t", database="d", question="q", difficulty="easy")


def trajectory(index: int) -> Trajectory:
    spec = EpisodeSpec(run_id="r", task_set_hash="h", task_id="t", policy="p", seed=1, sample_index=index)
    return faulted(spec, TASK, ValueError("x" * 200), 3)


def records(start: int, stop: int) -> pa.Table:
    return to_table([trajectory(index) for index in range(start, stop)])


def ids(start: int, stop: int) -> list[str]:
    return sorted(trajectory(index).spec.episode_id for index in range(start, stop))


def test_an_episode_delivered_twice_is_stored_once(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "a")
    assert sink.append(records(0, 5)) == 5
    assert sink.append(records(3, 7)) == 2
    sink.roll()
    assert sorted(stored_episodes(tmp_path / TRAJECTORIES)) == ids(0, 7)


def test_what_was_logged_is_there_after_a_restart(tmp_path: Path) -> None:
    Sink(tmp_path, "a").append(records(0, 5))
    again = Sink(tmp_path, "a")
    again.append(records(5, 6))
    again.roll()
    assert sorted(stored_episodes(tmp_path / TRAJECTORIES)) == ids(0, 6)


@pytest.mark.parametrize("size", [1, 7, 8, 100, 1000, -9, -1])
def test_a_torn_last_parcel_does_not_spoil_the_next_one(tmp_path: Path, size: int) -> None:
    Sink(tmp_path, "a").append(records(0, 2))
    log = tmp_path / TRAJECTORIES / "a.log"
    log.write_bytes(log.read_bytes() + pack(records(5, 8))[:size])
    again = Sink(tmp_path, "a")
    again.append(records(2, 3))
    del again  # its lock goes with it, as with a process
    Sink(tmp_path, "a")
    assert sorted(stored_episodes(tmp_path / TRAJECTORIES)) == ids(0, 3)


def test_an_unfinished_file_is_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / TRAJECTORIES
    folder.mkdir()
    (folder / "a-123.tmp").write_bytes(b"half a file")
    Sink(tmp_path, "a")
    assert list(folder.glob("*.tmp")) == []


def test_files_roll_by_themselves_and_are_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = records(0, 60), records(60, 100)
    monkeypatch.setattr(sinks, "ROLL_BYTES", len(pack(first)) + len(pack(second)))
    sink = Sink(tmp_path, "a")
    sink.append(first)
    assert list((tmp_path / TRAJECTORIES).glob("*.parquet")) == []
    sink.append(second)
    (path,) = (tmp_path / TRAJECTORIES).glob("*.parquet")
    assert pq.read_table(path).column("episode_id").to_pylist() == ids(0, 100)
    assert pq.read_schema(path).equals(SCHEMA)
    assert set(to_row(trajectory(0))) == set(SCHEMA.names)


def append_many(sink: Sink) -> None:
    for start in range(0, 4000, 40):
        sink.append(records(start, start + 40))


KILLED = """
import os, sys
from tests.test_sink import records
from cluster import sink as sinks
from cluster.sink import Sink
from pathlib import Path
sinks.ROLL_BYTES = 200_000
sink = Sink(Path(sys.argv[1]), "a")
for start in range(0, 4000, 40):
    sink.append(records(start, start + 40))
    print(start + 40, flush=True)
"""


@pytest.mark.parametrize("after", [3, 7, 14])
def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path, after: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    assert child.stdout is not None
    acknowledged = 0
    for _ in range(after):
        acknowledged = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    Sink(tmp_path, "a")
    stored = list(stored_episodes(tmp_path / TRAJECTORIES))
    assert len(stored) == len(set(stored))
    assert set(ids(0, acknowledged)) <= set(stored)


def test_two_that_recover_the_same_folder_at_once_store_everything_once(tmp_path: Path) -> None:
    """Nodes that share a disk."""
    for name in "abcdef":
        Sink(tmp_path, name).append(records(ord(name), ord(name) + 3))
    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(recover, tmp_path) for _ in range(2)]:
            done.result()
    assert sorted(stored_episodes(tmp_path / TRAJECTORIES)) == sorted(
        each for name in "abcdef" for each in ids(ord(name), ord(name) + 3)
    )
    assert {path.suffix for path in (tmp_path / TRAJECTORIES).iterdir()} == {".parquet"}


def test_a_recovery_by_names_leaves_other_sinks_alone(tmp_path: Path) -> None:
    mine, other = Sink(tmp_path, "mine-1"), Sink(tmp_path, "other-1")
    mine.append(records(0, 3))
    other.append(records(3, 6))
    del mine  # its lock goes with it; the other still writes
    recover(tmp_path, names="mine-*")
    assert sorted(stored_episodes(tmp_path / TRAJECTORIES)) == ids(0, 3)
    other.append(records(6, 7))
    other.close()
    assert sorted(stored_episodes(tmp_path / TRAJECTORIES)) == ids(0, 7)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_sink_fault_and_leaves_no_half_file(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "ROLL_BYTES", 100_000)
    sink = Sink(small_disk, "a")
    with pytest.raises(SinkFault, match="No space left"):
        append_many(sink)
    assert list((small_disk / TRAJECTORIES).glob("*.tmp")) == []
    for path in (small_disk / TRAJECTORIES).glob("*.parquet"):
        pq.read_table(path)


def test_a_folder_that_cannot_be_made_is_a_sink_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkFault, match="cannot write"):
        Sink(tmp_path / "file", "a")
