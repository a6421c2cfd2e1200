"""Rollouts on real Ray: as many episodes come back as were planned, each once, whatever dies on the way."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import ray

from cluster.config import ActorsConfig, RolloutConfig, TasksConfig
from cluster.regrade import Regrader, RegradeSummary
from cluster.report import RunReport
from cluster.rollout import Prepared, prepare, run_rollout
from cluster.run import RunFolder
from cluster.session import ray_session
from services.contracts.actions import Answer, ExploreAction
from services.contracts.errors import BadInput, Incomplete
from services.contracts.policy import Turn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.attempting import ATTEMPTS
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy import registry
from services.sandbox.limits import SandboxLimits
from tests.conftest import Down, address_of

POISONED = "retail-003"


class Poison:
    """Answers, but ends its process on one task."""

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        if any(turn.task_id == POISONED for turn in turns):
            os.kill(os.getpid(), signal.SIGKILL)
        return [Answer(value="0") for _ in turns]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_session():
        yield


@pytest.fixture
def config(builtin: TaskSet) -> RolloutConfig:
    return RolloutConfig(
        name="test",
        tasks=TasksConfig(path=str(builtin.folder)),
        policies=("random", "heuristic"),
        seed=3,
        actors=ActorsConfig(count=2, cpus=0.5, memory_mb=512, batch=8),
    )


def start(config: RolloutConfig, task_set: TaskSet, path: Path, limit: int | None = 60) -> tuple[Prepared, RunFolder]:
    prepared = prepare(config, task_set, limit)
    return prepared, RunFolder.start(path, config, task_set, prepared.specs, limit)


def play(config: RolloutConfig, task_set: TaskSet, path: Path) -> tuple[RunFolder, RunReport]:
    prepared, run = start(config, task_set, path)
    return run, run_rollout(prepared, run, lambda summaries: None)


def rows(run: RunFolder) -> list[dict[str, Any]]:
    """All rows without their timings, sorted."""
    found = [row for path in run.files() for row in pq.read_table(path).drop_columns(["timings"]).to_pylist()]
    return sorted(found, key=lambda row: str(row["episode_id"]))


def regrade(run: RunFolder) -> RegradeSummary:
    return asyncio.run(Regrader(run).regrade(lambda done: None))


def test_every_planned_episode_comes_back_once_and_the_same_seed_gives_the_same_rows(
    config: RolloutConfig, builtin: TaskSet, tmp_path: Path
) -> None:
    config = config.model_copy(update={"limits": EpisodeLimits(structure=0.05)})
    run, report = play(config, builtin, tmp_path / "one")
    again, _ = play(config, builtin, tmp_path / "two")
    assert report.planned == report.graded == len(rows(run)) == 60
    assert report.faulted == 0
    assert rows(run) == rows(again)
    assert max(row["structure"] for row in rows(run)) > 0
    assert regrade(run).differences == ()
    assert json.loads((run.path / "report.json").read_text())["graded"] == 60
    assert list((run.path / "trajectories").glob("*.tmp")) == []


def test_a_tampered_reward_is_found_by_a_regrade(config: RolloutConfig, builtin: TaskSet, tmp_path: Path) -> None:
    run, _ = play(config, builtin, tmp_path / "run")
    path = run.files()[0]
    table = pq.read_table(path)
    changed = [value + 0.01 for value in table["reward"].to_pylist()]
    place = table.schema.get_field_index("reward")
    pq.write_table(table.set_column(place, table.schema.field("reward"), [changed]), path)
    found = regrade(run).differences
    assert {difference.where for difference in found} == {"reward"}
    assert len(found) == table.num_rows


def test_a_run_that_stopped_half_way_is_finished_by_resume(
    config: RolloutConfig, builtin: TaskSet, tmp_path: Path
) -> None:
    whole, _ = play(config, builtin, tmp_path / "whole")
    prepared, run = start(config, builtin, tmp_path / "half")
    half = Prepared(prepared.config, prepared.task_set, prepared.specs[:25], prepared.limit)
    run_rollout(half, run, lambda summaries: None)
    fresh: list[str] = []
    resumed = RunFolder.open(run.path)
    resumed.check_same(config, builtin, 60)
    run_rollout(prepared, resumed, lambda summaries: fresh.extend(s.episode_id for s in summaries))
    assert len(fresh) == 35
    assert rows(resumed) == rows(whole)


def test_a_resume_with_another_config_task_set_or_limit_is_refused(
    config: RolloutConfig, builtin: TaskSet, tmp_path: Path
) -> None:
    _, run = start(config, builtin, tmp_path / "run")
    with pytest.raises(BadInput, match="seed: 3 -> 4"):
        run.check_same(config.model_copy(update={"seed": 4}), builtin, 60)
    with pytest.raises(BadInput, match="--limit 60"):
        run.check_same(config, builtin, None)


def test_missing_episodes_are_named(config: RolloutConfig, builtin: TaskSet, tmp_path: Path) -> None:
    prepared, run = start(config, builtin, tmp_path / "run")
    half = Prepared(prepared.config, prepared.task_set, prepared.specs[:10], prepared.limit)
    run_rollout(half, run, lambda summaries: None)
    with pytest.raises(Incomplete, match="50 of 60 episodes are missing") as caught:
        run.check_complete(prepared.specs)
    assert prepared.specs[10].episode_id in str(caught.value)


def env_actor_pids() -> list[int]:
    """The env actors of this process's own cluster."""
    named = [(child.pid, child.cmdline()[:1]) for child in psutil.Process().children(recursive=True)]
    return [pid for pid, name in named if name and name[0].startswith("ray::EnvActor")]


def test_an_env_actor_that_is_killed_costs_nothing(config: RolloutConfig, builtin: TaskSet, tmp_path: Path) -> None:
    whole, _ = play(config, builtin, tmp_path / "whole")
    prepared, run = start(config, builtin, tmp_path / "killed")
    killed = threading.Event()

    def kill_once(summaries: Sequence[object]) -> None:
        if not killed.is_set():
            os.kill(env_actor_pids()[0], signal.SIGKILL)
            killed.set()

    report = run_rollout(prepared, run, kill_once)
    assert killed.is_set()
    assert report.faulted == 0
    assert rows(run) == rows(whole)


def test_an_episode_that_ends_every_actor_is_a_fault_and_the_others_are_graded(
    config: RolloutConfig, builtin: TaskSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._PLAIN, "poison", Poison)
    poisoned = config.model_copy(update={"policies": ("poison",)})
    prepared = prepare(poisoned, builtin, None)
    specs = [spec for spec in prepared.specs if spec.task_id.startswith("retail")][:6]
    assert POISONED in {spec.task_id for spec in specs}
    some = Prepared(poisoned, builtin, specs, None)
    run = RunFolder.start(tmp_path / "run", poisoned, builtin, specs, None)
    report = run_rollout(some, run, lambda summaries: None)
    assert (report.graded, report.faulted) == (5, 1)
    (fault,) = [row for row in rows(run) if row["fault_kind"] is not None]
    assert (fault["task_id"], fault["verdict"], fault["reward"]) == (POISONED, "ungraded", None)
    assert regrade(run).differences == ()


def test_a_policy_that_does_not_answer_is_a_fault_and_never_a_reward(builtin: TaskSet) -> None:
    stored: list[Trajectory] = []

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        stored.extend(trajectories)

    async def run() -> None:
        setup = ActorSetup(task_set=address_of(builtin), limits=EpisodeLimits(), sandbox=SandboxLimits())
        actor = EnvActor(setup, {"down": Down}, GoldGrader.read, deliver)
        spec = EpisodeSpec(run_id="r", task_set_hash="h", task_id="retail-000", policy="down", seed=0, sample_index=0)
        await actor.play([spec])
        actor.close()

    asyncio.run(run())
    (trajectory,) = stored
    assert trajectory.fault is not None
    assert (trajectory.fault.kind, trajectory.fault.attempts) == ("PolicyFault", ATTEMPTS)
    assert (trajectory.verdict, trajectory.reward) == ("ungraded", None)


def test_metrics_count_the_episodes(config: RolloutConfig, builtin: TaskSet, tmp_path: Path) -> None:
    import urllib.request

    play(config, builtin, tmp_path / "run")
    ports = [node["MetricsExportPort"] for node in ray.nodes()]  # type: ignore[no-untyped-call]
    seen = threading.Event()
    for _ in range(200):
        text = "".join(
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode() for port in ports
        )
        if all(name in text for name in ("ray_assay_episodes_total", "ray_assay_policy_seconds_bucket_total")):
            seen.set()
            break
        threading.Event().wait(0.1)
    assert seen.is_set()
