"""Hundreds of imported golds, checked again by another route: sqlite3 itself, and an agent that submits the gold."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.workload import write_spider_like
from cluster.tasksets.spider import import_spider
from services.contracts.cells import cell_text
from services.env_actor.taskset import TaskSet
from services.grader.answers import is_correct, submission
from services.grader.gold import GoldAnswer, read_gold
from services.grader.reading import normal_text

QUESTIONS = 70


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spider_like(tmp_path_factory.mktemp("like") / "spider", QUESTIONS)


@pytest.fixture(scope="module")
def imported(source: Path) -> TaskSet:
    asyncio.run(import_spider(source, source.parent / "set", "like", lambda done: None))
    return TaskSet(source.parent / "set")


@pytest.fixture(scope="module")
def golds(imported: TaskSet) -> dict[str, GoldAnswer]:
    return read_gold(imported.gold_path)


def test_nearly_all_that_is_not_empty_faulty_or_tied_is_admitted(imported: TaskSet) -> None:
    aside = Counter(imported.manifest.set_aside)
    admitted = imported.manifest.tasks
    assert admitted >= 300
    assert admitted / (admitted + aside["not reproduced"] + aside["depends on row order"]) >= 0.99


def test_each_stored_answer_is_what_sqlite_says(source: Path, imported: TaskSet, golds: dict[str, GoldAnswer]) -> None:
    for task in imported.tasks.values():
        gold = golds[task.task_id]
        path = source / "database" / task.database / f"{task.database}.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            assert gold.source_sql is not None
            rows = [list(row) for row in connection.execute(gold.source_sql)]
        if gold.ordered:
            assert gold.rows() == rows, task.task_id
        else:
            assert Counter(map(repr, gold.rows())) == Counter(map(repr, rows)), task.task_id


def test_an_agent_that_submits_the_gold_scores_and_one_that_drops_a_row_does_not(
    imported: TaskSet, golds: dict[str, GoldAnswer]
) -> None:
    for task_id in imported.tasks:
        gold = golds[task_id]
        assert is_correct(gold, submission(gold.gold_answer)), task_id
        if isinstance(gold.gold_answer, list) and "." not in submission(gold.gold_answer):
            last = normal_text(cell_text(gold.gold_answer[-1]))
            fewer = [item for item in gold.gold_answer if normal_text(cell_text(item)) != last]
            assert not is_correct(gold, submission(fewer)), task_id
