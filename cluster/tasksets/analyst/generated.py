"""The analyst's built-in task set, kept in the user's cache folder.

Each instance is a database, two hidden copies of it from other seeds, and a task of each kind. Costs are those of one
version of DuckDB, which is part of the folder's name.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import duckdb
import platformdirs

from cluster.tasksets.analyst.freezing import freeze
from cluster.tasksets.analyst.questions import questions
from cluster.tasksets.analyst.shop import Disorder, build
from cluster.tasksets.analyst.skin import SKINS, Skin
from cluster.tasksets.tables import Table
from cluster.tasksets.writer import TaskSetWriter
from services.contracts.errors import BadInput
from services.contracts.tasks import Task
from services.env_actor.taskset import TaskSet, TaskSetManifest
from services.grader.analyst.gold import Kind
from services.grader.gold import GoldAnswer
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

DEFAULT_SEED = 0
INSTANCES = 21
COPIES = ("copy_a", "copy_b")
KINDS: tuple[Kind, ...] = ("fix_broken_join", "category_revenue", "churn_analysis")
DRAWS = 40
LIMITS = SandboxLimits(children=1 + len(COPIES))
BLOCK_BYTES = 16_384
"""Of a DuckDB file; the usual quarter of a megabyte makes a small database a hundred times its size."""
VERSION = 2
"""Raised whenever the code makes other content from the same seed, so that no stale copy is used."""


@dataclass(frozen=True)
class Shop:
    """The databases of one instance; `tables` are those of any of them, as far as names go."""

    seed: int
    instance: int
    skin: Skin
    disorder: Disorder
    databases: tuple[str, ...]
    tables: tuple[Table, ...]


async def analyst_folder() -> Path:
    """Where the built-in task set lies; made when it is not there or not whole."""
    name = f"builtin-analyst-v{VERSION}-seed{DEFAULT_SEED}-duckdb-{duckdb.__version__}"
    folder = Path(platformdirs.user_cache_dir("assay")) / "tasksets" / name
    if not folder.exists():
        try:
            await generate(folder, DEFAULT_SEED)
        except BadInput:
            if not folder.exists():  # another process was faster
                raise
    TaskSet(folder).check_databases(TaskSet(folder).manifest.databases)
    return folder


async def generate(destination: Path, seed: int, instances: int = INSTANCES) -> TaskSetManifest:
    """Write the analyst's task set of a seed to a new folder. Raises BadInput."""
    tasks: list[Task] = []
    golds: list[GoldAnswer] = []
    with TaskSetWriter(destination, "builtin-analyst", f"assay builtin-analyst v{VERSION}, seed {seed}") as writer:
        shops = [_write(writer, seed, instance) for instance in range(instances)]
        paths = {name: writer.database_path(name) for shop in shops for name in shop.databases}
        async with SandboxPool(paths, LIMITS) as pool:
            for shop in shops:
                for place in range(len(KINDS)):
                    task, gold = await _task(shop, place, pool)
                    tasks.append(task)
                    golds.append(gold)
        return writer.finish(tasks, golds, {})


def task_id_of(kind: Kind, instance: int) -> str:
    """The first instance has the name of its kind alone, as the product requirements name their three tasks."""
    return kind if instance == 0 else f"{kind}-{instance:02d}"


def _write(writer: TaskSetWriter, seed: int, instance: int) -> Shop:
    """The databases of one instance, the visible one first."""
    skin = SKINS[instance % len(SKINS)]
    disorder = Disorder.drawn(random.Random(f"{seed}/{instance}"))
    visible = f"{skin.name}_{instance:02d}"
    databases = (visible, *(f"{visible}_{copy}" for copy in COPIES))
    tables: tuple[Table, ...] = ()
    for database in databases:
        rows = build(skin, disorder, random.Random(f"{seed}/{database}"))
        tables = tuple(Table(table.name, table.columns, table.rows) for table in rows)
        writer.add_database(database, tables, BLOCK_BYTES)
    return Shop(seed, instance, skin, disorder, databases, tables)


async def _task(shop: Shop, place: int, pool: SandboxPool) -> tuple[Task, GoldAnswer]:
    """The first question of that kind that makes a fair task."""
    task_id = task_id_of(KINDS[place], shop.instance)
    for draw in range(DRAWS):
        rng = random.Random(f"{shop.seed}/{shop.instance}/{draw}")
        question = questions(shop.skin, shop.disorder, rng, shop.instance)[place]
        gold = await freeze(task_id, question, shop.databases, shop.tables, pool)
        if gold is not None:
            task = Task(
                task_id=task_id,
                environment="analyst",
                database=shop.databases[0],
                question=question.question,
                difficulty=question.difficulty,
            )
            return task, gold
    raise RuntimeError(f"no fair question in {DRAWS} draws for {task_id}")
