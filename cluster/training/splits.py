"""Splits: which databases teach, which reward, which choose, and which judge.

Invariant: no database is on two sides, nor two that are alike, and what is judged is not taught: a task whose question
or gold stands word for word among those of another side's databases is not trained on.
"""

import random
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from cluster.training.settings import SplitConfig
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.contracts.tasks import Task
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer, read_gold

_SPACE = re.compile(r"\W+")


class Split(Record):
    """The databases of each side, and how many tasks were not trained on because they are judged elsewhere."""

    supervised: tuple[str, ...]
    online: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def tasks(self, task_set: TaskSet, databases: Collection[str]) -> list[str]:
        """The tasks of some databases, without those left out."""
        kept = set(databases)
        return [
            task.task_id
            for task in task_set.tasks.values()
            if task.database in kept and task.environment == "explore" and task.task_id not in self.left_out
        ]


def split(task_set: TaskSet, config: SplitConfig) -> Split:
    """The split of a seed. Raises BadInput if there are too few databases."""
    tasks = [task for task in task_set.tasks.values() if task.environment == "explore"]
    databases = sorted({task.database for task in tasks})
    wanted = {"test": config.test, "validation": config.validation, "online": config.online}
    if sum(wanted.values()) >= len(databases):
        asked = " + ".join(map(str, wanted.values()))
        raise BadInput(f"split: {asked} databases are to be kept out, but there are only {len(databases)}")
    groups = alike({name: task_set.catalog(name) for name in databases}, config.likeness)
    random.Random(f"split/{config.seed}").shuffle(groups)
    sides: dict[str, list[str]] = {}
    for side, size in wanted.items():
        sides[side] = []
        while len(sides[side]) < size and groups:
            sides[side] += groups.pop()
    sides["supervised"] = [name for group in groups for name in group]
    if not sides["supervised"]:
        raise BadInput("split: the databases are too much alike to keep any for the supervised part")
    named = {side: tuple(sorted(names)) for side, names in sides.items()}
    return Split(**named, left_out=_judged_elsewhere(tasks, read_gold(task_set.gold_path), named))


def alike(catalogs: Mapping[str, DatabaseCatalog], likeness: float) -> list[list[str]]:
    """The databases in groups: two whose names of tables and columns overlap by `likeness` (Jaccard) are together."""
    names = {name: _names(catalog) for name, catalog in catalogs.items()}
    group = {name: name for name in catalogs}
    for one, other in combinations(sorted(catalogs), 2):
        shared = len(names[one] & names[other]) / max(len(names[one] | names[other]), 1)
        if shared >= likeness and group[one] != group[other]:
            old, new = group[other], group[one]
            group = {name: new if of == old else of for name, of in group.items()}
    return [[name for name in sorted(group) if group[name] == of] for of in sorted(set(group.values()))]


def plain(text: str) -> str:
    """A question or a statement without case, marks and spacing, to be compared."""
    return _SPACE.sub(" ", text).strip().lower()


def _names(catalog: DatabaseCatalog) -> frozenset[str]:
    return frozenset(f"{table.name}.{name}".lower() for table in catalog.tables for name, _ in table.columns)


def _judged_elsewhere(
    tasks: Sequence[Task], golds: Mapping[str, GoldAnswer], sides: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """Tasks of the trained sides whose question or gold the test databases have too, or the validation ones."""
    judged = set(sides["test"]) | set(sides["validation"])
    said = {text for task in tasks if task.database in judged for text in _texts(task, golds)}
    return tuple(
        task.task_id for task in tasks if task.database not in judged and not said.isdisjoint(_texts(task, golds))
    )


def _texts(task: Task, golds: Mapping[str, GoldAnswer]) -> tuple[str, ...]:
    gold = golds.get(task.task_id)
    return tuple(map(plain, (task.question, *((gold.gold_sql,) if gold is not None and gold.gold_sql else ()))))
