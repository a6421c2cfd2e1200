"""`assay evaluate` and `assay compare` on real runs: what is played, what is told, which gate fails."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from services.env_actor.taskset import TaskSet
from tests.test_cli import assay, refused

CONFIG = """name: small
policies: [random, heuristic]
tasks: {path: TASKS, sample: 12}
samples: 2
seed: 1
actors: {count: 1, cpus: 0.5, memory_mb: 512}
"""


@pytest.fixture(scope="module")
def config(builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "small.yaml"
    path.write_text(CONFIG.replace("TASKS", str(builtin.folder)))
    return path


@pytest.fixture(scope="module")
def first(config: Path) -> Path:
    """An evaluation of two policies."""
    out = config.parent / "first"
    done = assay("evaluate", config, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "report.json").read_text())
    return out


@pytest.fixture(scope="module")
def with_oracle(config: Path, builtin: TaskSet, first: Path) -> Path:
    """A copy of it, to which the oracle was added later."""
    out, script = config.parent / "grown", config.parent / "oracle.jsonl"
    done = assay("tasks", "oracle", builtin.folder, script)
    assert "100 scripts" in done.stdout
    assert "warning: this file holds the gold" in done.stderr
    refused(assay("tasks", "oracle", builtin.folder, script), "is there already")
    shutil.copytree(first, out)
    done = assay("evaluate", config, "--set", policies(script), "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    return out


def policies(script: Path) -> str:
    return f"policies=[random,heuristic,'scripted:{script}']"


def told(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "report.json").read_text())
    return found


def started(run: Path) -> dict[str, str]:
    """When each episode was played."""
    return dict(
        duckdb.sql(f"SELECT episode_id, timings.started_at::VARCHAR FROM '{run}/trajectories/*.parquet'").fetchall()
    )


def test_the_figures_are_those_of_a_query_over_the_parquet(first: Path) -> None:
    rows = duckdb.sql(
        f"""SELECT policy, count(*), avg((verdict = 'correct')::INT), avg(reward), avg(progress), avg(step_count)
            FROM '{first}/trajectories/*.parquet' WHERE reward IS NOT NULL GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    seen = [
        (one["policy"], one["graded"], one["success"]["mean"], one["reward"]["mean"], one["components"]["progress"])
        for one in told(first)["policies"]
    ]
    assert [row[:5] for row in rows] == [(name, *map(pytest.approx, numbers)) for name, *numbers in seen]
    assert [row[5] for row in rows] == [pytest.approx(one["steps"]) for one in told(first)["policies"]]


def test_every_dimension_adds_up_to_the_whole(first: Path) -> None:
    evaluation = told(first)
    assert evaluation["planned"] == evaluation["graded"] + evaluation["faulted"] == 48
    for dimension in ("environment", "task_set", "database", "difficulty", "answer_type"):
        parts = [one["episodes"] for one in evaluation["slices"] if one["dimension"] == dimension]
        assert sum(parts) == 48
    (comparison,) = evaluation["comparisons"]
    assert (comparison["a"], comparison["b"], comparison["pairs"]) == ("heuristic", "random", 24)


def test_a_policy_that_is_added_later_is_all_that_is_played(first: Path, with_oracle: Path) -> None:
    before, after = started(first), started(with_oracle)
    assert len(after) == 72
    assert before.items() <= after.items()
    oracle = next(one for one in told(with_oracle)["policies"] if one["policy"].startswith("scripted:"))
    assert oracle["success"]["mean"] == oracle["pass_at"]["2"]["mean"] == 1.0
    assert len(told(with_oracle)["comparisons"]) == 3
    assert assay("regrade", with_oracle).returncode == 0


def test_what_else_changes_is_refused(config: Path, with_oracle: Path, tmp_path: Path) -> None:
    def again(*more: object) -> Any:
        return assay("evaluate", config, "--out", with_oracle, "--resume", *more)

    script = config.parent / "oracle.jsonl"
    refused(again(), "which the config no longer names")
    refused(again("--set", policies(script), "--set", "seed=2"), "seed changed")
    refused(again("--set", policies(script), "--set", "samples=1"), "it has 2 samples a task, the config only 1")
    refused(assay("evaluate", config, "--out", with_oracle), "is there already")
    refused(assay("evaluate", config, "--resume"), "--resume needs --out")
    refused(assay("evaluate", config, "--set", "policies=[random,random]", "--out", tmp_path / "x"), "named twice")
    text = script.read_text()
    script.write_text(text + "\n".join(text.splitlines()[:1]) + "\n")
    refused(again("--set", policies(script)), "has changed since")
    script.write_text(text)


def gated(config: Path, run: Path, *gates: object) -> Any:
    return assay("evaluate", config, "--out", run, "--resume", *gates)


def test_a_figure_under_its_floor_is_exit_code_1_and_one_line_that_names_it(config: Path, first: Path) -> None:
    done = gated(config, first, "--fail-under", "success_rate=0.9")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gate failed: ")]
    assert "success_rate of random is" in line
    assert "success_rate of heuristic is" in line
    assert gated(config, first, "--fail-under", "random:pass@2=1.01").returncode == 1
    fine = ("--fail-under", "success_rate=0", "--fail-under", "heuristic:reward=-1", "--fail-under", "exec_ok=0")
    assert gated(config, first, *fine).returncode == 0


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("success_rate", "with a metric of success_rate, reward"),
        ("sucess=0.3", "with a metric of success_rate, reward"),
        ("success_rate=much", "'much' is not a number"),
        ("success_rate=nan", "'nan' is not a number"),
        ("pass@3=0.1", "with 2 samples, pass@K is known for K = 1, 2"),
        ("randm:reward=0", "the config has no policy randm, only random, heuristic"),
    ],
)
def test_a_gate_that_is_none_is_refused_before_anything_is_played(
    config: Path, first: Path, gate: str, said: str
) -> None:
    refused(assay("evaluate", config, "--out", first.parent / "never", "--fail-under", gate), said)
    assert not (first.parent / "never").exists()


def test_worse_than_a_reference_is_exit_code_1_and_as_good_is_not(config: Path, first: Path, with_oracle: Path) -> None:
    script = config.parent / "oracle.jsonl"
    same = assay(
        "evaluate", config, "--set", policies(script), "--out", with_oracle, "--resume", "--no-worse-than", first
    )
    assert same.returncode == 0, same.stderr
    better = only(with_oracle, first.parent / "oracle_only", "scripted")
    worse = config.parent / "random.yaml"
    worse.write_text(config.read_text().replace("[random, heuristic]", "[random]"))
    alone = only(first, first.parent / "random_only", "random")
    done = gated(worse, alone, "--no-worse-than", better)
    assert done.returncode == 1
    assert "gate failed: --no-worse-than: success of random is 0.0000, was 1.0000" in done.stderr


def only(run: Path, to: Path, policy: str) -> Path:
    """A copy of a run with the episodes of one policy only."""
    shutil.copytree(run, to)
    manifest = json.loads((to / "manifest.json").read_text())
    manifest["config"]["policies"] = [name for name in manifest["config"]["policies"] if name.startswith(policy)]
    (to / "manifest.json").write_text(json.dumps(manifest))
    for path in (to / "trajectories").glob("*.parquet"):
        path.unlink()
    kept = f"SELECT * FROM '{run}/trajectories/*.parquet' WHERE starts_with(policy, '{policy}')"
    duckdb.sql(f"COPY ({kept}) TO '{to}/trajectories/part.parquet'")
    return to


def test_compare_tells_the_flips_both_ways_with_episodes_that_can_be_shown(first: Path, with_oracle: Path) -> None:
    random, oracle = only(first, first.parent / "a", "random"), only(with_oracle, first.parent / "b", "scripted")
    compared = json.loads(assay("compare", random, oracle, "--json").stdout)
    (one,) = compared["policies"]
    assert len(one["won"]) == one["comparison"]["only_b"] == 24
    assert one["lost"] == []
    turned = json.loads(assay("compare", oracle, random, "--json").stdout)["policies"][0]
    assert len(turned["lost"]) == 24
    episode = one["won"][0]["episode_b"]
    assert json.loads(assay("show", oracle, episode, "--json").stdout)["verdict"] == "correct"
    assert "flipped" in assay("compare", first, with_oracle).stdout


def test_runs_on_different_task_sets_or_policies_are_refused(first: Path, with_oracle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(first, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"task_set_hash": "0" * 16}))
    refused(assay("compare", first, other), "are of different task sets")
    refused(assay("compare", first, only(with_oracle, tmp_path / "c", "scripted")), "have no policy in common")
    refused(assay("compare", first, tmp_path), "no run at")
