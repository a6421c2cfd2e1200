"""A training from nothing to a checkpoint that plays: killed on the way, it goes on where it was."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster.training.splits import Split, plain
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer
from services.policy.tier.demonstration import Demonstration
from services.policy.tier.features import CANDIDATE_FEATURES
from services.policy.trained.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/train/smoke.yaml"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(folder: Path, tasks: Path, *options: str) -> list[str]:
    words = ("train", str(CONFIG), "--out", str(folder), "--set", f"tasks={tasks}", *options)
    return [sys.executable, "-m", "cluster.cli", *words]


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def trained(builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was killed after its first pass, and then finished."""
    folder = tmp_path_factory.mktemp("training") / "smoke"
    log = folder.with_suffix(".log").open("w")
    begun = subprocess.Popen(
        command(folder, builtin.folder), cwd=ROOT, env=ENVIRONMENT, stderr=log, start_new_session=True
    )
    deadline = time.monotonic() + 250
    while not (folder / "offline.csv").exists():
        assert begun.poll() is None, folder.with_suffix(".log").read_text()
        assert time.monotonic() < deadline, folder.with_suffix(".log").read_text()
        time.sleep(0.05)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    (folder / "killed.csv").write_text((folder / "offline.csv").read_text())
    subprocess.run(command(folder, builtin.folder, "--resume"), cwd=ROOT, env=ENVIRONMENT, check=True)
    return folder


@pytest.mark.timeout(600)
def test_a_killed_training_goes_on_where_it_was(trained: Path) -> None:
    before, after = lines_of(trained / "killed.csv"), lines_of(trained / "offline.csv")
    assert after[: len(before)] == before
    assert [line["epoch"] for line in after] == ["1", "2"]
    assert [line["iteration"] for line in lines_of(trained / "online.csv")] == ["1", "2"]


def test_each_way_of_learning_leaves_a_checkpoint_and_the_best_is_named(trained: Path) -> None:
    names = ("offline", "ppo", "offline-reranked", "ppo-reranked")
    read = {name: read_checkpoint(trained / "checkpoints" / name) for name in names}
    assert [one.reranker is not None for one in read.values()] == [False, False, True, True]
    assert read_checkpoint(trained / "checkpoint").manifest.name.removeprefix("smoke-") in names
    assert "Learned from" in (trained / "checkpoint" / "README.md").read_text()


def test_what_judges_was_not_taught(trained: Path, builtin: TaskSet, golds: dict[str, GoldAnswer]) -> None:
    sides = Split.model_validate_json((trained / "split.json").read_text())
    lines = (trained / "demonstrations.jsonl").read_text().splitlines()
    shown = [Demonstration.model_validate_json(line) for line in lines]
    read = {row for path in (trained / "decisions/supervised").glob("*") for row in databases_in(path)}
    manifest = json.loads((trained / "checkpoint/manifest.json").read_text())
    assert read <= set(sides.supervised)
    assert manifest["databases"]["test"] == list(sides.test)
    taught = {plain(one.question) for one in shown} | {plain(golds[one.task_id].gold_sql or "") for one in shown}
    for task in builtin.tasks.values():
        if task.database in sides.test:
            assert task.database not in {one.database for one in shown}
            assert plain(task.question) not in taught
            assert plain(golds[task.task_id].gold_sql or "") not in taught


def databases_in(path: Path) -> set[str]:
    return set(pq.read_table(path, columns=["database"])["database"].to_pylist())


def test_curves_are_drawn(trained: Path) -> None:
    for name in ("offline.svg", "online.svg"):
        assert "<svg" in (trained / name).read_text()


def test_another_config_does_not_go_on(trained: Path, builtin: TaskSet) -> None:
    asked = command(trained, builtin.folder, "--resume", "--set", "seed=9")
    done = subprocess.run(asked, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the config has changed since" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_training_needs_a_new_folder(trained: Path, builtin: TaskSet) -> None:
    asked = command(trained, builtin.folder)
    done = subprocess.run(asked, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "add --resume" in done.stderr


def exported(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "cluster.cli", "export", "rllib", *arguments]
    return subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def test_a_run_is_exported_with_all_that_each_operation_was_chosen_from(trained: Path, tmp_path: Path) -> None:
    done = exported(str(trained / "runs/demonstrated"), "--out", str(tmp_path / "decisions"), "--json")
    assert done.returncode == 0, done.stderr
    rows = [row for path in sorted((tmp_path / "decisions").glob("*")) for row in pq.read_table(path).to_pylist()]
    assert len(rows) == json.loads(done.stdout)["decisions"]
    episodes = {row["eps_id"]: sorted(one["t"] for one in rows if one["eps_id"] == row["eps_id"]) for row in rows}
    assert all(numbers == list(range(len(numbers))) for numbers in episodes.values())
    for row in rows:
        offered = np.frombuffer(row["obs"]["candidates"], np.float16).reshape(-1, len(CANDIDATE_FEATURES))
        assert offered[row["actions"], 0] == (row["t"] == 0)  # a query begins with a scan
        assert row["rewards"] == (row["returns"] if row["terminateds"] else 0.0)


def test_what_is_no_run_is_not_exported(tmp_path: Path) -> None:
    done = exported(str(tmp_path), "--out", str(tmp_path / "decisions"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "decisions").exists()
