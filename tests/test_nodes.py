"""Two nodes: one that lacks the task set's folder still plays it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray

from cluster.config import ActorsConfig, RolloutConfig, TasksConfig
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder
from services.env_actor.taskset import TaskSet

NODE = """
mount -t tmpfs tmpfs "$1" && shift && exec "$@"
"""
PATIENCE_S = 60.0


def alive() -> int:
    return sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


@pytest.fixture
def far_cache(builtin: TaskSet, tmp_path: Path) -> Iterator[Path]:
    """A cluster whose only CPUs are on a node that sees an empty folder in place of the task set; its cache."""
    own = Path(tempfile.mkdtemp(prefix="ray-"))  # or `ray start` names this cluster to every ray.init of the machine
    ray.init(address="local", num_cpus=0, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=str(own))
    address = ray.get_runtime_context().gcs_address
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--block", "--num-cpus=2"]
    start += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    isolated = ["unshare", "--mount", "--propagation", "private", "sh", "-c", NODE, "sh", str(builtin.folder.parent)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "far")}
    node = subprocess.Popen([*isolated, *start], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while alive() < 2:
        assert node.poll() is None
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    yield tmp_path / "far" / "assay" / "tasksets" / "by-hash"
    started = psutil.Process(node.pid).children(recursive=True)
    ray.shutdown()
    for process in (*started, node):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    node.wait()
    shutil.rmtree(own, ignore_errors=True)


def test_a_node_that_lacks_the_folder_plays_it(builtin: TaskSet, far_cache: Path, tmp_path: Path) -> None:
    config = RolloutConfig(
        name="far",
        tasks=TasksConfig(path=str(builtin.folder)),
        policies=("heuristic",),
        actors=ActorsConfig(count=2, cpus=0.5, memory_mb=512, batch=4),
    )
    prepared = prepare(config, builtin, 12)
    run = RunFolder.start(tmp_path / "run", config, builtin, prepared.specs, 12)
    report = run_rollout(prepared, run, lambda summaries: None)
    assert (report.graded, report.faulted) == (12, 0)
    kept = far_cache / builtin.manifest.task_set_hash()
    assert json.loads((kept / "manifest.json").read_text())["name"] == "builtin"
    TaskSet(kept).check_databases(builtin.manifest.databases)
