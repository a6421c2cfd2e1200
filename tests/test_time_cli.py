"""`assay time` and the regrade of what it leaves: real files, real processes, real timings."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

SLOW = "SELECT count(*) AS n FROM t a, t b WHERE a.x + b.x < 4000 AND a.x < 2000;"
QUICK = "SELECT 2000::BIGINT * 4000 - 2000 * 1999 // 2 - 0 * (SELECT max(x) FROM t) AS n;"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        made.chmod(0o755)
        duckdb.connect().execute(f"COPY (SELECT range AS x FROM range(6000)) TO '{made}/t.parquet'")
        (made / "slow.sql").write_text(SLOW)
        (made / "again.sql").write_text(
            "-- another comment\nselect COUNT(*) as n from t a, t b " + SLOW.split("t b")[1]
        )
        (made / "quick.sql").write_text(QUICK)
        (made / "other.sql").write_text(QUICK.replace("AS n", "+ 1 AS n"))
        (made / "broken.sql").write_text("SELECT nothing FROM t;")
        yield made


def assay(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cluster.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def timed(folder: Path, rewrite: str, *more: object) -> "subprocess.CompletedProcess[str]":
    return assay("time", folder / "slow.sql", folder / rewrite, "--source", f"t={folder}/t.parquet", *more)


def test_an_equal_rewrite_that_is_much_faster_is_paid_and_its_verdict_stands(folder: Path, tmp_path: Path) -> None:
    done = timed(folder, "quick.sql", "--out", tmp_path / "out", "--production", 2, "--production", 3, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["finding"]["verdict"], found["equality"]["verdict"]) == (0, "faster", "identical")
    assert found["reward"] > 0
    assert found["split"]["production_runs"] == 2
    again = assay("regrade", tmp_path / "out", "--remeasure", "--json")
    said = json.loads(again.stdout)
    assert (again.returncode, said["differences"], said["remeasured"]["stands"]) == (0, [], True)


def test_a_reward_that_the_timings_do_not_give_is_found(folder: Path, tmp_path: Path) -> None:
    done = timed(folder, "again.sql", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "same: 1.00x" in done.stdout
    file = tmp_path / "out" / "runtime.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"reward": 1.0}))
    again = assay("regrade", tmp_path / "out")
    assert again.returncode == 1
    assert "reward: stored 1.0, derived 0.0" in again.stdout


def test_a_rewrite_with_another_result_is_paid_nothing(folder: Path) -> None:
    done = timed(folder, "other.sql", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["reward"], found["finding"]["unfit"]["reason"]) == (1, 0.0, "different")


@pytest.mark.parametrize(
    ("rewrite", "more", "said"),
    [
        ("nowhere.sql", (), "cannot read the SQL file"),
        ("quick.sql", ("--pay", "gold"), "--pay gold is none of log"),
        ("quick.sql", ("--source", "t"), "should be NAME=PATH"),
        ("quick.sql", ("--source", "u=/nowhere"), "there is nothing at /nowhere"),
        ("quick.sql", ("--source", "run=."), "choose another"),
        ("quick.sql", ("--out", "."), "is there already"),
    ],
)
def test_bad_input_is_one_clear_line(folder: Path, rewrite: str, more: tuple[str, ...], said: str) -> None:
    done = timed(folder, rewrite, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_original_that_fails_is_bad_input(folder: Path) -> None:
    done = assay("time", folder / "broken.sql", folder / "quick.sql", "--source", f"t={folder}/t.parquet")
    assert done.returncode == 2
    assert "the original cannot be measured: sql_error" in done.stderr


def test_a_run_of_episodes_has_no_timings_to_take_again(tmp_path: Path) -> None:
    done = assay("regrade", tmp_path, "--remeasure")
    assert done.returncode == 2
    assert "--remeasure needs a folder with a runtime.json" in done.stderr
