"""Spider's folder layout as a task set: database/<name>/<name>.sqlite, tables.json, train_spider.json or dev.json.

The gold result is frozen from SQLite. A question is admitted only if its gold, in DuckDB and inside the sandbox, gives
the same result; the others are set aside with a reason.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sqlglot import exp

from cluster.tasksets.keys import SpiderSchema, keys_of_spider, spider_schemas
from cluster.tasksets.semantics import Columns
from cluster.tasksets.sqlite import column_kinds, opened, read_tables, reversed_copy, run_gold
from cluster.tasksets.ties import AmbiguousError, tie_groups
from cluster.tasksets.translate import Translation, candidates, difficulty_of, is_ordered, parse, tables_of
from cluster.tasksets.writer import TaskSetWriter
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.contracts.statements import ResultTable, Rows
from services.contracts.tasks import Task
from services.env_actor.taskset import TaskSetManifest
from services.grader.gold import GoldAnswer, shape_answer
from services.grader.results import same_result
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

QUESTION_FILES = ("train_spider.json", "train.json", "dev.json")
LIMITS = SandboxLimits(children=1, cache_mb=0)


class SpiderQuestion(Record):
    """One entry of Spider's question file; the fields that Assay needs."""

    model_config = ConfigDict(extra="ignore")
    db_id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    query: str = Field(min_length=1)


@dataclass(frozen=True)
class Admitted:
    """A question that goes into the task set."""

    task: Task
    gold: GoldAnswer


Progress = Callable[[int], None]


async def import_spider(source: Path, destination: Path, name: str, progress: Progress) -> TaskSetManifest:
    """Read a Spider folder into a task set. `progress` hears how many databases are done. Raises BadInput."""
    questions = _questions(source)
    by_database: dict[str, list[tuple[int, SpiderQuestion]]] = {}
    for index, question in enumerate(questions):
        by_database.setdefault(question.db_id, []).append((index, question))
    schemas = spider_schemas(source)
    admitted: dict[int, Admitted] = {}
    set_aside: Counter[str] = Counter()
    with TaskSetWriter(destination, name, f"spider {source.name}") as writer:
        for done, (database, entries) in enumerate(sorted(by_database.items())):
            progress(done)
            for index, verdict in (await _import_database(source, database, entries, name, writer, schemas)).items():
                if isinstance(verdict, Admitted):
                    admitted[index] = verdict
                else:
                    set_aside[verdict] += 1
        if not admitted:
            raise BadInput(f"{source}: no question could be admitted ({dict(set_aside)})")
        kept = [admitted[index] for index in sorted(admitted)]
        return writer.finish([a.task for a in kept], [a.gold for a in kept], set_aside)


def _questions(source: Path) -> list[SpiderQuestion]:
    found = [source / name for name in QUESTION_FILES if (source / name).is_file()]
    if not found:
        raise BadInput(f"{source} has no question file: expected one of {', '.join(QUESTION_FILES)}")
    try:
        return TypeAdapter(list[SpiderQuestion]).validate_python(json.loads(found[0].read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        detail = error.errors()[0] if isinstance(error, ValidationError) else None
        where = f"entry {detail['loc'][0]}: {detail['msg']}" if detail else str(error)
        raise BadInput(f"{found[0]}: {where}") from error


@dataclass(frozen=True)
class Source:
    """One database while its questions are examined: as SQLite has it, with its rows reversed, and in the sandbox."""

    connection: sqlite3.Connection
    reverse: sqlite3.Connection
    columns: Columns
    pool: SandboxPool


async def _import_database(
    source: Path, database: str, entries: list[tuple[int, SpiderQuestion]], name: str, writer: TaskSetWriter,
    schemas: Mapping[str, SpiderSchema],
) -> dict[int, Admitted | str]:  # fmt: skip
    path = source / "database" / database / f"{database}.sqlite"
    if not path.is_file():
        raise BadInput(f"{path} is missing, but {len(entries)} questions ask about it")
    with opened(path) as connection, closing(reversed_copy(connection)) as reverse:
        tables = read_tables(connection)
        writer.add_database(database, tables, keys=keys_of_spider(connection, tables, schemas.get(database)))
        async with SandboxPool({database: writer.database_path(database)}, LIMITS) as pool:
            part = Source(connection, reverse, column_kinds(connection, tables), pool)
            return {index: await _admit(f"{name}-{index:05d}", question, part) for index, question in entries}


async def _admit(task_id: str, question: SpiderQuestion, source: Source) -> Admitted | str:
    """The task, or the reason why there is none."""
    try:
        rows = run_gold(source.connection, question.query)
    except sqlite3.Error:
        return "faulty gold"
    if not rows or all(cell is None for row in rows for cell in row):
        return "empty"
    if len(rows) > LIMITS.max_rows or len(json.dumps(rows)) > LIMITS.max_bytes:
        return "too large"
    tree = parse(question.query)
    if tree is None:
        return "not reproduced"
    try:
        ties = tie_groups(source.connection, tree, rows)
    except AmbiguousError:
        return "tie at a LIMIT"
    if not same_result(run_gold(source.reverse, question.query), rows, False):
        return "depends on row order"
    ordered = is_ordered(tree) and len(rows) > 1
    translation = await _reproduced(question, rows, ordered, ties, source)
    if translation is None:
        return "not reproduced"
    return _admitted(task_id, question, rows, translation, tree, ordered, ties)


async def _reproduced(
    question: SpiderQuestion, rows: Rows, ordered: bool, ties: tuple[int, ...], source: Source
) -> Translation | None:
    """The first translation with the same result in the sandbox."""
    for translation in candidates(question.query, source.columns):
        outcome, _ = await source.pool.run(question.db_id, translation.sql)
        if isinstance(outcome, ResultTable) and same_result(outcome.rows, rows, ordered, ties):
            return translation
    return None


def _admitted(
    task_id: str,
    question: SpiderQuestion,
    rows: Rows,
    translation: Translation,
    tree: exp.Expr,
    ordered: bool,
    ties: tuple[int, ...],
) -> Admitted:
    answer_type, answer = shape_answer(rows)
    task = Task(task_id=task_id, database=question.db_id, question=question.question, difficulty=difficulty_of(tree))
    gold = GoldAnswer(
        task_id=task_id,
        gold_sql=translation.sql,
        gold_answer=answer,
        answer_type=answer_type,
        ordered=ordered,
        tie_groups=ties if ordered and max(ties, default=1) > 1 else (),
        tables_involved=tables_of(tree),
        source_sql=question.query,
        changes=translation.changes,
    )
    return Admitted(task, gold)
