"""Demonstrations: the gold of a task set as operations of the structured tier, each proven to give the gold's answer.

They hold gold: they are made by an explicit command, and no policy reads them but to learn from.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace

from pydantic import Field

from services.contracts.record import Record
from services.contracts.statements import ResultTable
from services.contracts.tasks import Task
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.render import result_text
from services.env_actor.taskset import TaskSet
from services.grader.answers import gives_gold
from services.grader.gold import GoldAnswer, read_gold
from services.policy.heuristic.looking import found_cells
from services.policy.heuristic.probing import probe
from services.policy.heuristic.reading import Schema, read_description, read_outcome
from services.policy.heuristic.words import tokens
from services.policy.tier.compiling import compile_state
from services.policy.tier.demonstration import Demonstration
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Operations
from services.policy.tier.reaching import way_to
from services.policy.tier.state import run
from services.policy.tier.translating import Untranslatable, translate
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

LIMITS = SandboxLimits(children=1, cache_mb=0)


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
    reachable_share: float = Field(description="of the proven, those whose every operation is among the candidates")
    candidates_mean: float = Field(description="offered at a step")
    candidates_most: int
    reasons: dict[str, int]


def schema_of(catalog: DatabaseCatalog) -> Schema:
    """The schema as an agent reads it who has described every table."""
    tables = (read_description(table.name, table.describe()) for table in catalog.tables)
    return Schema(tuple(table for table in tables if table is not None))


async def demonstrate(
    task_set: TaskSet, task_ids: Collection[str] | None = None
) -> AsyncIterator[Demonstration | Refusal]:
    """Every explore task's demonstration, or why it has none, database by database. Raises BadInput, SandboxFault."""
    golds = read_gold(task_set.gold_path)
    asked = task_set.tasks if task_ids is None else frozenset(task_ids)
    tasks = [task for name, task in task_set.tasks.items() if task.environment == "explore" and name in asked]
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
    reason = await _fault(task, gold, operations, schema, pool)
    if reason:
        return Refusal(task.task_id, reason)
    knowledge = await _looked_around(task, schema, pool)
    way = way_to(operations, knowledge)
    if way.operations != operations and await _fault(task, gold, way.operations, schema, pool):
        way = replace(way, operations=operations, reachable=False)
    return Demonstration(
        task_id=task.task_id,
        database=task.database,
        question=task.question,
        difficulty=task.difficulty,
        operations=way.operations,
        sql=compile_state(run(way.operations, schema), schema),
        cells=tuple((hit.column.table, hit.column.name, hit.value) for hit in knowledge.hits),
        offered=way.offered,
        reachable=way.reachable,
    )


async def _fault(task: Task, gold: GoldAnswer, operations: Operations, schema: Schema, pool: SandboxPool) -> str:
    """Why the operations do not give the gold's answer; empty if they do."""
    outcome, _ = await pool.run(task.database, compile_state(run(operations, schema), schema))
    if not isinstance(outcome, ResultTable):
        return "does not run"
    return "" if not outcome.truncated and gives_gold(gold, outcome.rows) else "gives another result"


async def _looked_around(task: Task, schema: Schema, pool: SandboxPool) -> Knowledge:
    """What an agent knows after it has looked for the question's words among the cells."""
    sql = probe(tokens(task.question), schema)
    outcome = None if sql is None else (await pool.run(task.database, sql))[0]
    if sql is None or not isinstance(outcome, ResultTable):
        return Knowledge(task.question, schema)
    shown = read_outcome(result_text(outcome), "")
    return Knowledge(task.question, schema, found_cells(task.question, schema, {sql: shown}))


def report(demonstrations: list[Demonstration], refusals: list[Refusal]) -> DemonstrationReport:
    """The figures of a whole task set."""
    lengths = [len(one.operations) for one in demonstrations]
    offered = [count for one in demonstrations for count in one.offered]
    tasks = len(demonstrations) + len(refusals)
    return DemonstrationReport(
        tasks=tasks,
        proven=len(demonstrations),
        share=len(demonstrations) / max(tasks, 1),
        operations_mean=sum(lengths) / max(len(lengths), 1),
        operations_most=max(lengths, default=0),
        reachable_share=sum(one.reachable for one in demonstrations) / max(len(demonstrations), 1),
        candidates_mean=sum(offered) / max(len(offered), 1),
        candidates_most=max(offered, default=0),
        reasons=dict(Counter(refusal.reason for refusal in refusals).most_common()),
    )
