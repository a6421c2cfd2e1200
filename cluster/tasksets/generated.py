"""The built-in task set: made by code from a seed, kept in the user's cache folder."""

from pathlib import Path

import platformdirs
import sqlglot

from cluster.tasksets.builtin import build_domains
from cluster.tasksets.builtin.domain import Domain, QuestionSpec
from cluster.tasksets.keys import keys_of_domain
from cluster.tasksets.tables import Table
from cluster.tasksets.translate import tables_of
from cluster.tasksets.writer import TaskSetWriter
from services.contracts.errors import BadInput
from services.contracts.statements import Cell, ResultTable
from services.contracts.tasks import Task
from services.env_actor.taskset import TaskSet, TaskSetManifest
from services.grader.gold import GoldAnswer
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

DEFAULT_SEED = 0
LIMITS = SandboxLimits(children=1, cache_mb=0)
VERSION = 2
"""Raised whenever the code makes other content from the same seed, so that no stale copy is used."""


async def builtin_folder() -> Path:
    """Where the built-in task set lies; made when it is not there or not whole."""
    folder = Path(platformdirs.user_cache_dir("assay")) / "tasksets" / f"builtin-v{VERSION}-seed{DEFAULT_SEED}"
    if not folder.exists():
        try:
            await generate(folder, DEFAULT_SEED)
        except BadInput:
            if not folder.exists():  # another process was faster
                raise
    TaskSet(folder).check_databases(TaskSet(folder).manifest.databases)
    return folder


async def generate(destination: Path, seed: int) -> TaskSetManifest:
    """Write the built-in task set of a seed to a new folder. Raises BadInput."""
    tasks: list[Task] = []
    golds: list[GoldAnswer] = []
    with TaskSetWriter(destination, "builtin", f"assay builtin v{VERSION}, seed {seed}") as writer:
        for domain in build_domains(seed):
            tables = (Table(t.name, t.columns, t.rows) for t in domain.tables)
            writer.add_database(domain.name, tables, keys=keys_of_domain(domain))
            async with SandboxPool({domain.name: writer.database_path(domain.name)}, LIMITS) as pool:
                for index, question in enumerate(domain.questions):
                    task, gold = await _admit(domain, index, question, pool)
                    tasks.append(task)
                    golds.append(gold)
        return writer.finish(tasks, golds, {})


async def _admit(domain: Domain, index: int, question: QuestionSpec, pool: SandboxPool) -> tuple[Task, GoldAnswer]:
    """The task and its gold, frozen from the sandbox."""
    task_id = f"{domain.name}-{index:03d}"
    outcome, _ = await pool.run(domain.name, question.gold_sql)
    if not isinstance(outcome, ResultTable):
        raise RuntimeError(f"the gold of the built-in task {task_id} does not run: {outcome.message}")
    answer: Cell = [list(row) for row in outcome.rows]
    if question.answer_type == "list":
        answer = [row[0] for row in outcome.rows]
    elif question.answer_type != "table":
        answer = outcome.rows[0][0]
    gold = GoldAnswer(
        task_id=task_id,
        gold_sql=question.gold_sql,
        gold_answer=answer,
        answer_type=question.answer_type,
        ordered=question.ordered,
        tables_involved=tables_of(sqlglot.parse_one(question.gold_sql, read="duckdb")),
    )
    task = Task(task_id=task_id, database=domain.name, question=question.question, difficulty=question.difficulty)
    return task, gold
