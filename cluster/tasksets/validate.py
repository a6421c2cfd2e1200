"""Whether a set's tasks can be believed: each gold is run again, on rows in another order and with more threads."""

import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import duckdb

from services.contracts.record import Record
from services.contracts.statements import Cell, ResultTable, Rows
from services.contracts.tasks import Task
from services.env_actor.taskset import TaskSet
from services.grader.answers import gives_gold, is_correct, submission
from services.grader.gold import GoldAnswer, read_gold
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

CONSTANTS = ("0", "1", "2", "-1", "NULL", "None", "yes", "no", "true", "unknown", "[]", "[[]]")
LIMITS = SandboxLimits(children=1, cache_mb=0)
SHUFFLED_LIMITS = SandboxLimits(children=1, cache_mb=0, threads=2)

Fault = Literal[
    "missing gold", "gold does not run", "empty", "another result", "depends on row order", "does not score"
]
Weakness = Literal["a constant solves it", "SELECT * solves it"]


class Finding(Record):
    """Something about one task. A weakness is a warning: the task is right, but cheap."""

    task_id: str
    what: Fault | Weakness
    detail: str

    @property
    def is_fault(self) -> bool:
        """Whether the task must not be used."""
        return self.what not in ("a constant solves it", "SELECT * solves it")


async def validate(task_set: TaskSet, progress: Callable[[str], None]) -> AsyncIterator[Finding]:
    """All findings of a task set; `progress` hears of each database when it begins. Raises BadInput."""
    golds = read_gold(task_set.gold_path)
    task_set.check_databases(task_set.manifest.databases)
    for database in sorted(task_set.manifest.databases):
        progress(database)
        tasks = [task for task in task_set.tasks.values() if task.database == database]
        if not tasks:  # a hidden copy
            continue
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            shuffled = Path(folder) / f"{database}.duckdb"
            _shuffle(task_set.database_path(database), shuffled)
            async with (
                SandboxPool({database: task_set.database_path(database)}, LIMITS) as pool,
                SandboxPool({database: shuffled}, SHUFFLED_LIMITS) as other,
            ):
                whole = [await _whole(pool, database, table.name) for table in task_set.catalog(database).tables]
                for task in tasks:
                    async for finding in _examine(task, golds.get(task.task_id), pool, other, whole):
                        yield finding


async def _examine(
    task: Task, gold: GoldAnswer | None, pool: SandboxPool, other: SandboxPool, whole: list[str]
) -> AsyncIterator[Finding]:
    if gold is None:
        yield Finding(task_id=task.task_id, what="missing gold", detail="")
        return
    fault = await _fault(task, gold, pool, other)
    if fault is not None:
        yield Finding(task_id=task.task_id, what=fault[0], detail=fault[1])
        return
    for constant in CONSTANTS:
        if is_correct(gold, constant):
            yield Finding(task_id=task.task_id, what="a constant solves it", detail=constant)
    if any(is_correct(gold, rows) for rows in whole):
        yield Finding(task_id=task.task_id, what="SELECT * solves it", detail="")


async def _fault(task: Task, gold: GoldAnswer, pool: SandboxPool, other: SandboxPool) -> tuple[Fault, str] | None:
    if gold.gold_sql:
        fault = await _sql_fault(task, gold, pool, other)
        if fault is not None:
            return fault
    if not is_correct(gold, submission(gold.gold_answer)):
        return "does not score", "the gold answer, submitted, is not judged correct"
    return None


async def _sql_fault(task: Task, gold: GoldAnswer, pool: SandboxPool, other: SandboxPool) -> tuple[Fault, str] | None:
    outcome, _ = await pool.run(task.database, gold.gold_sql)
    if not isinstance(outcome, ResultTable):
        return "gold does not run", outcome.message
    if not outcome.rows or all(cell is None for row in outcome.rows for cell in row):
        return "empty", ""
    if not _gives(gold, outcome.rows):
        return "another result", f"expected {gold.answer_type} {json.dumps(gold.gold_answer)[:100]}"
    again, _ = await other.run(task.database, gold.gold_sql)
    if not isinstance(again, ResultTable) or not _gives(gold, again.rows):
        return "depends on row order", "shuffled rows or two threads give another result"
    return None


def _gives(gold: GoldAnswer, rows: Rows) -> bool:
    """Whether a result is the frozen answer, in the form of its answer type."""
    return gives_gold(gold, rows)


async def _whole(pool: SandboxPool, database: str, table: str) -> str:
    quoted = table.replace('"', '""')
    outcome, _ = await pool.run(database, f'SELECT * FROM "{quoted}"')
    if not isinstance(outcome, ResultTable):
        return ""
    answer: Cell = [row[0] if len(row) == 1 else list(row) for row in outcome.rows]
    return submission(answer)


def _shuffle(source: Path, destination: Path) -> None:
    """A copy of the database with the rows of every table in another order."""
    with duckdb.connect(str(destination), config={"threads": "1"}) as connection:
        connection.execute(f"ATTACH '{source}' AS original (READ_ONLY)")
        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'original' ORDER BY table_oid"
        ).fetchall()
        for (name,) in names:
            table = '"' + str(name).replace('"', '""') + '"'
            salt = random.Random(str(name)).random()
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM original.{table} ORDER BY hash(rowid + {salt})")
    destination.chmod(0o644)
