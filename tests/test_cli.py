"""The command as a person uses it: right input, and one clear line for wrong input."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.env_actor.taskset import TaskSet

ROOT = Path(__file__).resolve().parents[1]
CONFIG = (
    "name: small\npolicies: [random]\ntasks: {path: TASKS}\nseed: 1\nactors: {count: 1, cpus: 0.5, memory_mb: 512}\n"
)


def assay(*arguments: object, said: str = "", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=said, cwd=cwd, timeout=240)


def refused(done: subprocess.CompletedProcess[str], said: str, code: int = 2) -> None:
    """Assert that a command failed with one clear line."""
    assert said in done.stderr
    assert done.returncode == code, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture
def config(builtin: TaskSet, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG.replace("TASKS", str(builtin.folder)))
    return path


@pytest.fixture(scope="module")
def finished(builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that the command has made."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(CONFIG.replace("TASKS", str(builtin.folder)))
    done = assay("rollout", folder / "small.yaml", "--out", folder / "out", "--limit", 12, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["graded"] == 12
    return folder / "out"


def test_a_dry_run_says_what_would_be_played_and_writes_nothing(config: Path, tmp_path: Path) -> None:
    done = assay("rollout", config, "--dry-run", "--json", "--set", "samples=3", cwd=ROOT)
    assert json.loads(done.stdout) == {"planned": 300, "policies": {"random": 300}}
    assert {path.name for path in tmp_path.iterdir()} == {"small.yaml"}


def test_report_regrade_and_show_read_a_run(finished: Path) -> None:
    assert "12 planned = 12 graded + 0 faulted" in assay("report", finished).stdout
    report = json.loads(assay("report", finished, "--json").stdout)
    assert report["policies"][0]["episodes"] == 12
    assert json.loads(assay("regrade", finished, "--json").stdout)["differences"] == []
    episode = json.loads(assay("show", finished, first_episode(finished), "--json").stdout)
    assert episode["episode_id"] == first_episode(finished)
    shown = assay("show", finished, first_episode(finished)[:10])
    assert episode["question"][:40] in shown.stdout


def test_a_changed_reward_makes_regrade_say_no(finished: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (path,) = (copy / "trajectories").glob("*.parquet")
    table = pq.read_table(path)
    place = table.schema.get_field_index("verdict")
    pq.write_table(table.set_column(place, "verdict", [["correct"] * table.num_rows]), path)
    assert assay("regrade", copy).returncode == 1


def first_episode(run: Path) -> str:
    import pyarrow.parquet as pq

    (path,) = (run / "trajectories").glob("*.parquet")
    return str(pq.read_table(path)["episode_id"][0])


def test_a_person_can_play_a_task(builtin: TaskSet) -> None:
    moves = "DESCRIBE orders\nQUERY SELECT count(*) FROM orders\nANSWER 411\n"
    done = assay("play", "retail-000", "--tasks", builtin.folder, said=moves)
    assert "How many orders are there?" in done.stdout
    assert "correct, reward +1.170" in done.stdout


def test_tasks_can_be_listed_and_validated(builtin: TaskSet) -> None:
    assert len(assay("tasks", "list", builtin.folder).stdout.splitlines()) == 100
    assert "100 tasks: 0 faults" in assay("tasks", "validate", builtin.folder).stdout


def test_unknown_config_keys_name_their_neighbour(config: Path) -> None:
    config.write_text(config.read_text() + "sampels: 2\n")
    refused(assay("rollout", config), "unknown key sampels; did you mean samples?")


def test_a_missing_config_or_task_set_is_one_line(config: Path, tmp_path: Path) -> None:
    refused(assay("rollout", tmp_path / "none.yaml"), "cannot read the config")
    refused(assay("rollout", config, "--set", f"tasks.path={tmp_path}/none"), "no task set at")
    refused(assay("tasks", "list", tmp_path), "no task set at")


def test_an_unknown_policy_names_its_neighbour(config: Path, tmp_path: Path) -> None:
    done = assay("rollout", config, "--set", "policies=[heuristc]", "--out", tmp_path / "out")
    refused(done, "unknown policy heuristc; did you mean heuristic?")
    refused(assay("rollout", config, "--set", "policies=['scripted:none.jsonl']"), "cannot read the script")
    assert not (tmp_path / "out").exists()


def test_a_damaged_database_is_named_and_nothing_is_written(builtin: TaskSet, config: Path, tmp_path: Path) -> None:
    shutil.copytree(builtin.folder, tmp_path / "set")
    path = tmp_path / "set" / "databases" / "retail.duckdb"
    path.write_bytes(path.read_bytes()[:5000])
    done = assay("rollout", config, "--set", f"tasks.path={tmp_path}/set", "--out", tmp_path / "out")
    refused(done, "retail.duckdb")
    assert not (tmp_path / "out").exists()


def test_a_gold_that_does_not_run_fails_validation(builtin: TaskSet, tmp_path: Path) -> None:
    from tests.test_taskset import rewrite_gold

    shutil.copytree(builtin.folder, tmp_path / "set")
    rewrite_gold(tmp_path / "set", "retail-000", gold_sql="SELECT nothing FROM orders")
    done = assay("tasks", "validate", tmp_path / "set")
    assert done.returncode == 1
    assert "retail-000\tgold does not run" in done.stdout


def test_a_ray_cluster_that_is_gone_is_one_line_and_writes_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        refused(assay("rollout", config, "--out", tmp_path / "out"), "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:")
    assert not (tmp_path / "out").exists()


def test_an_out_folder_that_is_there_is_not_touched(config: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    refused(assay("rollout", config, "--out", finished), "is there already")
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_resume_without_a_run_or_with_another_config_is_refused(config: Path, finished: Path, tmp_path: Path) -> None:
    refused(assay("rollout", config, "--resume"), "--resume needs --out")
    refused(assay("rollout", config, "--resume", "--out", tmp_path / "none"), "no run at")
    changed = assay("rollout", config, "--resume", "--out", finished, "--limit", 12, "--set", "seed=2")
    refused(changed, "the config has changed since (seed: 1 -> 2)")


def test_resuming_a_finished_run_plays_nothing_and_reports(config: Path, finished: Path) -> None:
    done = assay("rollout", config, "--resume", "--out", finished, "--limit", 12, "--json")
    assert json.loads(done.stdout)["graded"] == 12


def test_wrong_flags_and_runs_are_exit_code_2(tmp_path: Path) -> None:
    assert assay("rollout").returncode == 2
    assert assay("fly").returncode == 2
    refused(assay("report", tmp_path), "no run at")
    refused(assay("regrade", tmp_path), "no run at")
    refused(assay("play", "nothing-1"), "no task nothing-1")


BROKEN = """
from cluster import cli
@cli.app.command()
def broken() -> None:
    raise ZeroDivisionError("ours")
cli.main()
"""


def test_a_bug_of_our_own_never_looks_like_an_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, "broken"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 70
    assert "ZeroDivisionError: ours" in done.stderr


def test_an_unknown_episode_is_one_line(finished: Path) -> None:
    refused(assay("show", finished, "zzz"), "has an id that starts 'zzz'")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_at_the_sink_is_one_line_and_exit_code_3(config: Path, small_disk: Path) -> None:
    done = assay("rollout", config, "--out", small_disk / "out")
    assert done.returncode == 3, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "No space left" in errors[0]
    assert list((small_disk / "out").rglob("*.tmp")) == []
