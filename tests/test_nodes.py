"""Several nodes, each with an address and a disk of its own: lost, slow or cut off, the run is that of a calm one."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import ray

from cluster.config import RolloutConfig
from cluster.mirror import Mirror
from cluster.plan import plan_episodes
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder
from services.contracts.errors import Infrastructure
from services.env_actor.actor import EpisodeSummary
from services.env_actor.taskset import TaskSet
from tests.clusters import head
from tests.network import PATIENCE_S, Node, alive, await_nodes, cluster, network
from tests.test_kills import ROOT, calm_rows, config_of, rows_of
from tests.test_mirror import ids
from tests.test_storm import differing

EPISODES = 200


def play(config: RolloutConfig, task_set: TaskSet, folder: Path, at: int, act: Callable[[], None]) -> None:
    """A run in `folder / "disk" / "run"` that is copied to a bucket; `act` happens once `at` episodes are safe."""
    prepared = prepare(config, task_set, EPISODES)
    mirror = Mirror(f"file://{folder}/shared")
    run = RunFolder.start(folder / "disk" / "run", config, task_set, prepared.specs, EPISODES, mirror)
    done, acted = 0, False

    def on_done(summaries: Sequence[EpisodeSummary]) -> None:
        nonlocal done, acted
        done += len(summaries)
        if done >= at and not acted:
            acted = True
            act()

    report = run_rollout(prepared, run, on_done)
    assert acted
    assert (report.planned, report.graded, report.faulted) == (EPISODES, EPISODES, 0)
    assert differing(rows_of(run.path), calm_rows(config, task_set, EPISODES, folder / "calm")) == []


def private(folder: Path) -> Path:
    """The folder of the run's folder, of which each node may have one of its own."""
    (folder / "disk").mkdir()
    return folder / "disk"


def await_title(node: Node, title: str) -> None:
    """Until a process of the node is called so by Ray."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for process in node.processes():
            with suppress(psutil.NoSuchProcess):
                if any(word.startswith(title) for word in process.cmdline()[:1]):
                    return
        threading.Event().wait(0.01)
    raise AssertionError(f"{node.name} has no {title}")


def await_logged(run: Path, size: int) -> None:
    """Until so many bytes are logged."""
    deadline = time.monotonic() + PATIENCE_S
    while not any(log.stat().st_size >= size for log in run.rglob("*.log")):
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.mark.timeout(300)
def test_a_node_that_lacks_the_tasks_plays_on_when_another_is_lost_with_its_disk(
    builtin: TaskSet, tmp_path: Path
) -> None:
    disk = private(tmp_path)
    with network(2) as net, cluster(net, [[builtin.folder.parent, disk], [disk]]):
        play(config_of(builtin), builtin, tmp_path, EPISODES // 4, lambda: net.nodes[1].lose())
        assert alive() == 2
        kept = net.nodes[0].cache / "assay" / "tasksets" / "by-hash" / builtin.manifest.task_set_hash()
        TaskSet(kept).check_databases(builtin.manifest.databases)


@pytest.mark.soak
def test_a_run_begins_with_the_least_and_a_node_that_comes_later_plays_too(builtin: TaskSet, tmp_path: Path) -> None:
    config = config_of(builtin)
    config = config.model_copy(update={"actors": config.actors.model_copy(update={"cpus": 1.0, "least": 1})})
    with network(2) as net, cluster(net, [[]]):
        played = threading.Event()

        def join() -> None:
            node = net.join(ray.get_runtime_context().gcs_address)
            await_nodes(3)
            await_title(node, "ray::EnvActor")
            threading.Thread(
                target=lambda: (await_title(node, "ray::EnvActor.play"), played.set()), daemon=True
            ).start()

        play(config, builtin, tmp_path, 10, join)
        assert played.is_set()


@pytest.mark.soak
def test_a_run_for_which_there_is_no_room_says_what_is_free(builtin: TaskSet, tmp_path: Path) -> None:
    config = config_of(builtin)
    config = config.model_copy(update={"actors": config.actors.model_copy(update={"cpus": 1.0, "placement_s": 5.0})})
    with (
        network(1) as net,
        cluster(net, [[]]),
        pytest.raises(Infrastructure, match=r"1 of the 2 actors .* asks for 1.0 CPUs and 512 MB, free is 0.0 CPUs"),
    ):
        play(config, builtin, tmp_path, 10, lambda: None)


@pytest.mark.soak
@pytest.mark.parametrize("lost", [0, 1])
def test_what_an_actor_had_in_hand_that_finds_no_other_place_is_played_by_others(
    builtin: TaskSet, tmp_path: Path, lost: int
) -> None:
    config = config_of(builtin)
    config = config.model_copy(update={"actors": config.actors.model_copy(update={"cpus": 1.0})})
    with network(2) as net, cluster(net, [[], []]):
        play(config, builtin, tmp_path, EPISODES // 4, lambda: net.nodes[lost].lose())


@pytest.mark.soak
def test_a_run_that_has_lost_all_its_nodes_says_what_it_asks_for(builtin: TaskSet, tmp_path: Path) -> None:
    config = config_of(builtin)
    config = config.model_copy(update={"actors": config.actors.model_copy(update={"placement_s": 5.0})})
    with (
        network(1) as net,
        cluster(net, [[]]),
        pytest.raises(Infrastructure, match=r"no actor had a place for 5 s; each asks for .*, free is 0.0 CPUs"),
    ):
        play(config, builtin, tmp_path, EPISODES // 4, lambda: net.nodes[0].lose())


@pytest.mark.soak
def test_a_slow_node_holds_nothing_up_for_ever(builtin: TaskSet, tmp_path: Path) -> None:
    with network(2) as net, ExitStack() as slowed, cluster(net, [[], []]):
        play(config_of(builtin), builtin, tmp_path, 10, lambda: slowed.enter_context(net.nodes[1].slow()))


@pytest.mark.soak
@pytest.mark.parametrize("heals", [False, True])
def test_a_node_that_is_cut_off_leaves_nothing_twice(builtin: TaskSet, tmp_path: Path, heals: bool) -> None:
    disk = private(tmp_path)
    with network(2) as net, cluster(net, [[disk], [disk]]):
        config = config_of(builtin)

        def cut() -> None:
            net.nodes[1].unplug()
            if heals:
                threading.Timer(10, net.nodes[1].plug_in).start()

        play(config, builtin, tmp_path, EPISODES // 4, cut)
        assert ids(tmp_path / "shared") == sorted(spec.episode_id for spec in plan_episodes(config, builtin, EPISODES))


@pytest.mark.soak
@pytest.mark.parametrize("logged", [1, 100_000], ids=["as it opens", "as it plays"])
def test_a_run_whose_head_is_lost_goes_on_at_another(builtin: TaskSet, tmp_path: Path, logged: int) -> None:
    config = config_of(builtin)
    (tmp_path / "config.yaml").write_text(config.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "cluster.cli", "rollout", str(tmp_path / "config.yaml")]
    command += ["--out", str(tmp_path / "run")]
    with head() as first, subprocess.Popen(command, cwd=ROOT, env=first.environment, stderr=subprocess.PIPE) as driver:
        assert driver.stderr is not None
        await_logged(tmp_path / "run", logged)
        first.kill()
        said = driver.communicate(timeout=PATIENCE_S)[1].decode()
        assert driver.returncode == 3, said
        assert "run it again with --resume" in said
    with head() as second:
        done = subprocess.run([*command, "--resume"], cwd=ROOT, env=second.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert differing(rows_of(tmp_path / "run"), calm_rows(config, builtin, None, tmp_path / "calm")) == []
