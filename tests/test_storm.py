"""Whatever happens to a run, its bucket and its disk: its rows are those of a calm run, each once; nothing stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.config import RolloutConfig
from cluster.mirror import Mirror
from cluster.plan import plan_episodes
from cluster.run import RunFolder
from services.env_actor.taskset import TaskSet
from services.policy.registry import policy_maker
from tests.bucket import ENVIRONMENT, NAME, Bucket
from tests.openai_server import hosting
from tests.storm.clock import EPISODES, WallClock
from tests.storm.disk import SmallDisk
from tests.storm.line import Line
from tests.storm.processes import living
from tests.storm.run import ROOT, Sessions, config_of, play
from tests.storm.session import FAULT
from tests.storm.weather import Places, Storm, moves
from tests.test_kills import Rows, calm_rows, rows_of
from tests.test_kills import config_of as kills_config

END_S = 120.0
OTHER = frozenset({"attempts"})
"""What a storm may change: how often an episode was begun."""


@dataclass(frozen=True)
class World:
    """What a run depends on, each to be broken."""

    bucket: Bucket
    places: Places
    tables: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of the driver, and so of all that it starts. What they leave in a temporary folder is seen."""
        folders = {"XDG_CACHE_HOME": str(self.places.disk.folder), "RAY_TMPDIR": "/tmp", "TMPDIR": str(self.temporary)}
        return ENVIRONMENT | folders | dict(self.places.clock.environment)

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def policy_port(self) -> int:
        return self.places.lines["policy"].port

    @property
    def url(self) -> str:
        """Of the run: what another test has put into a bucket is there still."""
        return self.bucket.url(self.folder.name, self.places.lines["bucket"].port)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bucket, disk = Bucket(), SmallDisk(tmp_path / "disk")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tables").mkdir()
    for name, rows in (("one", 20_000), ("other", 20_001)):
        pq.write_table(pa.table({"id": range(rows)}), tmp_path / "tables" / f"{name}.parquet")
    with hosting({"heuristic": policy_maker("heuristic")}) as url:
        lines = {"bucket": Line(bucket.port), "policy": Line(int(url.removesuffix("/v1").rpartition(":")[2]))}
        yield World(bucket, Places(lines, disk, WallClock(tmp_path / "clock")), tmp_path / "tables", tmp_path)
        for line in lines.values():
            line.close()
    bucket.stop()
    disk.close()


def weather(
    world: World, task_set: TaskSet, config: RolloutConfig, seed: int, counts: dict[str, int]
) -> tuple[Storm, Sessions]:
    """Play through a storm, and look at everything that is there when it is over."""
    specs = plan_episodes(config, task_set)
    storm = Storm(seed, len(specs), counts, world.places)
    began = time.monotonic()
    sessions = play(config, world.url, storm, world.tables, world.folder, world.environment)
    took_ms = (time.monotonic() - began) * 1e3
    assert sessions.codes[-1] == 0, sessions.said[-1]
    check_rows(world, task_set, config, took_ms)
    compared = check_verdicts(world.folder / "verdicts", counts["kill grader"])
    check_nothing_is_left(world, storm)
    print(f"seed {seed}: {len(specs)} episodes and {compared} comparisons in {took_ms / 1e3:.0f} s")
    print(f"sessions {sessions.codes}; {storm.done.total()} moves: {dict(storm.done)}")
    return storm, sessions


def check_rows(world: World, task_set: TaskSet, config: RolloutConfig, took_ms: float) -> None:
    """Each planned episode once, as a calm run has it, and no duration that a set clock has changed."""
    copy = RunFolder.open(world.folder / "copy", Mirror(world.url))
    copy.check_complete(plan_episodes(config, task_set))
    assert differing(rows_of(copy.path), calm_rows(config, task_set, None, world.folder / "calm")) == []
    assert all(0 <= one["wall_ms"] < took_ms for one in timings_of(copy.files()))


def timings_of(files: Sequence[Path]) -> list[dict[str, Any]]:
    return [one for path in files for one in pq.read_table(path, columns=["timings"])["timings"].to_pylist()]


def differing(rows: Rows, calm: Rows) -> list[tuple[str, list[str]]]:
    """The episodes whose rows differ, and in which columns."""
    assert [row["episode_id"] for row in rows] == [row["episode_id"] for row in calm]
    found = [
        (one["episode_id"], [name for name in other if name not in OTHER and one[name] != other[name]])
        for one, other in zip(rows, calm, strict=True)
    ]
    return [(episode, names) for episode, names in found if names]


def check_verdicts(file: Path, kills: int) -> int:
    """A killed grader is a fault at worst, and never a verdict. How many comparisons there were."""
    said = [line.split() for line in file.read_text().splitlines()]
    faults = [verdict for *_, verdict in said if verdict == FAULT]
    assert len(faults) <= kills
    for left, right, verdict in said:
        assert verdict in (FAULT, "identical" if left == right else "different")
    return len(said)


def check_nothing_is_left(world: World, storm: Storm) -> None:
    """No process, and no file but those of the run."""
    listed = world.bucket.client.list_objects_v2(Bucket=NAME, Prefix=f"{world.folder.name}/")
    keys = [entry["Key"] for entry in listed["Contents"]]
    assert {key.rpartition(".")[2] for key in keys} == {"json", "parquet"}
    assert world.places.disk.files() == []
    assert living(storm.seen, END_S) == []
    assert list(world.temporary.iterdir()) == []


@pytest.mark.timeout(900)
def test_a_storm_changes_no_row(world: World, builtin: TaskSet) -> None:
    """In its short form without Serve, a full disk and a killed driver, which tests of their own have."""
    counts = moves(kills=1, stops=1, cuts=1, drivers=0, disks=0, clocks=1)
    counts = {move: times for move, times in counts.items() if times and "replica" not in move}
    storm, _ = weather(world, builtin, config_of(builtin, 1, world.policy_port, "inline"), 1, counts)
    assert storm.left == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [21, 22, 23, 24, 25])
def test_a_long_storm_changes_no_row(world: World, builtin: TaskSet, seed: int) -> None:
    counts = moves(kills=6, stops=4, cuts=5, drivers=3, disks=2, clocks=4)
    storm, sessions = weather(world, builtin, config_of(builtin, 10, world.policy_port, "handle"), seed, counts)
    assert storm.left == []
    assert sessions.codes.count(-signal.SIGKILL) == 3


def test_a_clock_that_is_set_back_and_forth_changes_no_row_and_no_duration(builtin: TaskSet, tmp_path: Path) -> None:
    """Without Ray, whose own timers a clock that is set back delays."""
    one_by_one = kills_config(builtin).actors.model_copy(update={"episodes_at_once": 1})  # so that they begin apart
    config = kills_config(builtin).model_copy(update={"policies": ("heuristic",), "actors": one_by_one})
    (tmp_path / "config.yaml").write_text(config.model_dump_json())
    clock = WallClock(tmp_path / "clock")
    arguments = [str(tmp_path / "config.yaml"), str(builtin.folder), str(tmp_path / "set")]
    environment = os.environ | clock.environment | {"FAKETIME_NO_CACHE": "1"}
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "tests.storm.clock", *arguments], check=True, env=environment, cwd=ROOT)
    took_ms = (time.monotonic() - began) * 1e3
    assert differing(rows_of(tmp_path / "set"), calm_rows(config, builtin, EPISODES, tmp_path / "calm")) == []
    timings = timings_of(list((tmp_path / "set" / "trajectories").iterdir()))
    assert all(0 <= one["wall_ms"] < took_ms for one in timings)
    days = [one["started_at"] for one in timings]
    assert max(days) - min(days) > timedelta(days=1)
