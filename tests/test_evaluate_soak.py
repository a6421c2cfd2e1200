"""An evaluation of full size, killed once: the report and the documented query agree on every planned episode."""

import asyncio
import subprocess
import threading
from pathlib import Path

import pytest

from cluster.evaluation.oracle import write_oracle
from cluster.tasksets.generated import generate
from services.env_actor.taskset import (
    DATABASES,
    GOLD,
    MANIFEST,
    TASKS,
    TaskSet,
    TaskSetManifest,
    sha256_of,
    write_jsonl,
)
from services.grader.gold import read_gold
from tests.documented import check_report_against_queries
from tests.test_cli import ROOT, assay
from tests.test_kills import command, kill_driver, safe

SEEDS = (0, 1, 2)
EPISODES = 4 * 300 * 4
CONFIG = """name: large
policies: [random, rule-based, heuristic, "scripted:ORACLE"]
tasks: {path: TASKS}
samples: 4
seed: 11
limits: {deadline_s: 600}
sandbox: {statement_s: 30}
"""


def three_builtin_sets(folder: Path) -> TaskSet:
    """300 tasks over 18 databases: the built-in sets of three seeds as one."""
    made = [folder / str(seed) for seed in SEEDS]
    for seed, place in zip(SEEDS, made, strict=True):
        asyncio.run(generate(place, seed))
    whole, entries, tasks, golds = folder / "whole", {}, [], []
    (whole / DATABASES).mkdir(parents=True)
    for seed, place in zip(SEEDS, made, strict=True):
        task_set = TaskSet(place)
        for name, entry in task_set.manifest.databases.items():
            entries[f"{name}{seed}"] = entry
            for suffix in ("duckdb", "catalog.json"):
                (place / DATABASES / f"{name}.{suffix}").rename(whole / DATABASES / f"{name}{seed}.{suffix}")
        for task in task_set.tasks.values():
            tasks.append(
                task.model_copy(update={"task_id": f"{task.task_id}-{seed}", "database": f"{task.database}{seed}"})
            )
        golds += [
            gold.model_copy(update={"task_id": f"{gold.task_id}-{seed}"})
            for gold in read_gold(task_set.gold_path).values()
        ]
    write_jsonl(whole / TASKS, tasks)
    write_jsonl(whole / GOLD, golds)
    manifest = TaskSetManifest(
        name="three",
        source="the built-in sets of three seeds",
        engine=TaskSet(made[0]).manifest.engine,
        databases=entries,
        tasks=len(tasks),
        tasks_sha256=sha256_of(whole / TASKS),
        gold_sha256=sha256_of(whole / GOLD),
    )
    (whole / MANIFEST).write_text(manifest.model_dump_json())
    return TaskSet(whole)


@pytest.mark.soak
def test_four_policies_on_300_tasks_killed_once_give_the_same_numbers_from_report_and_query(tmp_path: Path) -> None:
    task_set = three_builtin_sets(tmp_path)
    assert len(task_set.tasks) == 300
    oracle, config, out = tmp_path / "oracle.jsonl", tmp_path / "large.yaml", tmp_path / "run"
    write_oracle(task_set, oracle)
    config.write_text(CONFIG.replace("TASKS", str(task_set.folder)).replace("ORACLE", str(oracle)))
    arguments = ("evaluate", config, "--out", out)
    driver = subprocess.Popen(command(*arguments), cwd=ROOT)
    while safe(out) < EPISODES // 10 and driver.poll() is None:
        threading.Event().wait(0.2)
    kill_driver(driver, lambda: True)
    stored = safe(out)
    assert EPISODES // 10 <= stored < EPISODES
    done = subprocess.run(command(*arguments, "--resume"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert check_report_against_queries(out) == EPISODES
    print(f"{stored} of {EPISODES} episodes were stored when the driver was killed")
    print((out / "report.md").read_text().partition("![")[0])
    assert assay("baselines", "check", out, "docs/baselines/builtin.json").returncode == 2
