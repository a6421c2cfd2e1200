"""A task set is what its manifest says, or it is refused."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from cluster.tasksets.generated import generate
from cluster.tasksets.validate import Finding, validate
from services.contracts.errors import BadInput
from services.contracts.statements import ResultTable
from services.env_actor.taskset import TaskSet, sha256_of
from services.grader.gold import GoldAnswer
from tests.conftest import Table

FILES = ("tasks.jsonl", "gold.jsonl", "databases/retail.duckdb")


@pytest.fixture
def copy(builtin: TaskSet, tmp_path: Path) -> Path:
    shutil.copytree(builtin.folder, tmp_path / "set")
    return tmp_path / "set"


def findings(folder: Path) -> list[Finding]:
    async def collect() -> list[Finding]:
        return [finding async for finding in validate(TaskSet(folder), lambda database: None)]

    return asyncio.run(collect())


def open_all(folder: Path) -> None:
    """Read everything that a rollout reads."""
    task_set = TaskSet(folder)
    _ = task_set.tasks, task_set.gold_path, task_set.catalog("retail")
    task_set.check_databases(["retail"])


def rewrite_gold(folder: Path, task_id: str, **changes: object) -> None:
    """Change one gold answer, and the manifest with it."""
    lines = []
    for line in (folder / "gold.jsonl").read_text().splitlines():
        gold = json.loads(line)
        lines.append(json.dumps({**gold, **changes} if gold["task_id"] == task_id else gold))
    (folder / "gold.jsonl").write_text("\n".join(lines) + "\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["gold_sha256"] = sha256_of(folder / "gold.jsonl")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_builtin_set_has_what_it_promises(builtin: TaskSet, golds: dict[str, GoldAnswer]) -> None:
    levels = [task.difficulty for task in builtin.tasks.values()]
    assert len(builtin.manifest.databases) >= 5
    assert (levels.count("easy"), levels.count("medium"), levels.count("hard")) == (40, 40, 20)
    assert {gold.answer_type for gold in golds.values()} == {"integer", "float", "string", "list", "table"}
    assert all(gold.tables_involved for gold in golds.values())


def test_the_builtin_set_is_valid_and_no_constant_solves_any_of_it(builtin: TaskSet) -> None:
    assert findings(builtin.folder) == []


def test_the_same_seed_gives_the_same_hash_and_another_seed_another(builtin: TaskSet, tmp_path: Path) -> None:
    same = asyncio.run(generate(tmp_path / "same", 0))
    other = asyncio.run(generate(tmp_path / "other", 1))
    assert same.task_set_hash() == builtin.manifest.task_set_hash() != other.task_set_hash()


def test_no_task_holds_gold(builtin: TaskSet, golds: dict[str, GoldAnswer]) -> None:
    text = (builtin.folder / "tasks.jsonl").read_text()
    assert "gold" not in text
    assert not any(gold.gold_sql in text for gold in golds.values())


@pytest.mark.parametrize(
    "name", ["tasks.jsonl", "gold.jsonl", "databases/retail.duckdb", "databases/retail.catalog.json"]
)
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BadInput, match=name.split("/")[-1]):
        open_all(copy)


@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_missing_file_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BadInput, match=name.split("/")[-1]):
        open_all(copy)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"gold_sql": "SELECT nothing FROM orders"}, "gold does not run"),
        ({"gold_sql": "SELECT order_id FROM orders WHERE false"}, "empty"),
        ({"gold_sql": "SELECT count(*) + 1 FROM orders"}, "another result"),
        ({"gold_sql": "SELECT order_id FROM orders LIMIT 1", "gold_answer": None}, "another result"),
    ],
)
def test_a_gold_that_cannot_be_believed_is_found(copy: Path, changes: dict[str, object], what: str) -> None:
    rewrite_gold(copy, "retail-000", **changes)
    assert [(finding.task_id, finding.what) for finding in findings(copy)] == [("retail-000", what)]


def test_a_gold_that_depends_on_the_order_of_rows_is_found(copy: Path, table: Table) -> None:
    sql = "SELECT customer_id FROM orders LIMIT 1"
    outcome = table.run("retail", sql)
    assert isinstance(outcome, ResultTable)
    rewrite_gold(copy, "retail-000", gold_sql=sql, gold_answer=outcome.rows[0][0])
    assert [finding.what for finding in findings(copy)] == ["depends on row order"]


def test_a_task_that_a_constant_solves_is_named(copy: Path) -> None:
    rewrite_gold(copy, "retail-000", gold_sql="SELECT min(order_id) * 0 FROM orders", gold_answer=0)
    (found,) = findings(copy)
    assert (found.what, found.detail, found.is_fault) == ("a constant solves it", "0", False)


def test_a_task_that_the_whole_table_solves_is_named(copy: Path) -> None:
    catalog = TaskSet(copy).catalog("retail").find("suppliers")
    assert catalog is not None
    rows = [list(row) for row in sorted(catalog.reservoir, key=lambda row: str(row[0]))]
    rewrite_gold(copy, "retail-000", gold_sql="SELECT * FROM suppliers", gold_answer=rows, answer_type="table")
    assert [finding.what for finding in findings(copy)] == ["SELECT * solves it"]
