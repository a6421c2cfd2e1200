"""Demonstrations: the gold of a task set as operations of the structured tier, each proven to give the gold's answer.

They hold gold: they are made by an explicit command, and no policy reads them but to learn from.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from services.contracts.record import Record
from services.contracts.statements import ResultTable
from services.contracts.tasks import Difficulty, Task
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.taskset import TaskSet
from services.grader.answers import gives_gold
from services.grader.gold import GoldAnswer, read_gold
from services.policy.heuristic.reading import Schema, read_description
from services.policy.tier.compiling import compile_state
from services.policy.tier.operations import Operations
from services.policy.tier.state import run
from services.policy.tier.translating import Untranslatable, translate
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

LIMITS = SandboxLimits(children=1, cache_mb=0)


class Demonstration(Record):
    """One gold as operations, the last a submission, and the statement that they make."""

    task_id: str
    database: str
    question: str
    difficulty: Difficulty
    operations: Operations
    sql: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gold without a demonstration, and why."""

    task_id: str
    reason: str


class DemonstrationReport(Record):
    """How many golds operations can say, and why not the others."""

    tasks: int
    proven: int
    share: float
    operations_mean: float
    operations_most: int
    reasons: dict[str, int]


def schema_of(catalog: DatabaseCatalog) -> Schema:
    """The schema as an agent reads it who has described every table."""
    tables = (read_description(table.name, table.describe()) for table in catalog.tables)
    return Schema(tuple(table for table in tables if table is not None))


async def demonstrate(task_set: TaskSet) -> AsyncIterator[Demonstration | Refusal]:
    """Every explore task's demonstration, or why it has none, database by database. Raises BadInput, SandboxFault."""
    golds = read_gold(task_set.gold_path)
    tasks = [task for task in task_set.tasks.values() if task.environment == "explore"]
    databases = sorted({task.database for task in tasks})
    task_set.check_databases(databases)
    for database in databases:
        schema = schema_of(task_set.catalog(database))
        async with SandboxPool({database: task_set.database_path(database)}, LIMITS) as pool:
            for task in tasks:
                if task.database == database:
                    yield await _one(task, golds, schema, pool)


async def _one(
    task: Task, golds: Mapping[str, GoldAnswer], schema: Schema, pool: SandboxPool
) -> Demonstration | Refusal:
    gold = golds.get(task.task_id)
    if gold is None or not gold.gold_sql:
        return Refusal(task.task_id, "no gold SQL")
    try:
        operations = translate(gold.gold_sql, schema)
    except Untranslatable as error:
        return Refusal(task.task_id, str(error))
    sql = compile_state(run(operations, schema), schema)
    outcome, _ = await pool.run(task.database, sql)
    if not isinstance(outcome, ResultTable):
        return Refusal(task.task_id, "does not run")
    if outcome.truncated or not gives_gold(gold, outcome.rows):
        return Refusal(task.task_id, "gives another result")
    return Demonstration(
        task_id=task.task_id,
        database=task.database,
        question=task.question,
        difficulty=task.difficulty,
        operations=operations,
        sql=sql,
    )


def report(demonstrations: list[Demonstration], refusals: list[Refusal]) -> DemonstrationReport:
    """The figures of a whole task set."""
    lengths = [len(one.operations) for one in demonstrations]
    tasks = len(demonstrations) + len(refusals)
    return DemonstrationReport(
        tasks=tasks,
        proven=len(demonstrations),
        share=len(demonstrations) / tasks if tasks else 0.0,
        operations_mean=sum(lengths) / len(lengths) if lengths else 0.0,
        operations_most=max(lengths, default=0),
        reasons=dict(Counter(refusal.reason for refusal in refusals).most_common()),
    )
