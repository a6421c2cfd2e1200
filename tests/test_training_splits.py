"""What is judged is never taught: sides by database, alike databases together, and no question or gold on two sides."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.training.settings import SplitConfig
from cluster.training.splits import Split, alike, plain, split
from services.contracts.errors import BadInput
from services.env_actor.catalog import DatabaseCatalog, TableCatalog
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer

ONE_EACH = SplitConfig(online=1, validation=1, test=1)


def sides_of(found: Split) -> dict[str, tuple[str, ...]]:
    return {name: getattr(found, name) for name in ("supervised", "online", "validation", "test")}


def holding(*columns: str) -> DatabaseCatalog:
    table = TableCatalog(name="t", columns=tuple((column, "INTEGER") for column in columns), row_count=0, reservoir=[])
    return DatabaseCatalog(tables=(table,))


@pytest.mark.parametrize("seed", range(6))
def test_every_database_is_on_one_side(builtin: TaskSet, seed: int) -> None:
    found = sides_of(split(builtin, ONE_EACH.model_copy(update={"seed": seed})))
    assert sorted(name for side in found.values() for name in side) == sorted(builtin.manifest.databases)
    for one, other in combinations(found.values(), 2):
        assert set(one).isdisjoint(other)


def test_another_seed_splits_otherwise(builtin: TaskSet) -> None:
    assert len({split(builtin, ONE_EACH.model_copy(update={"seed": seed})).test for seed in range(8)}) > 1


@pytest.mark.parametrize("seed", range(6))
def test_no_question_and_no_gold_of_a_judging_database_is_taught(
    builtin: TaskSet, golds: dict[str, GoldAnswer], seed: int
) -> None:
    found = split(builtin, ONE_EACH.model_copy(update={"seed": seed}))
    taught = found.tasks(builtin, (*found.supervised, *found.online))
    judging = found.tasks(builtin, (*found.validation, *found.test))
    questions = {plain(builtin.tasks[task].question) for task in judging}
    statements = {plain(golds[task].gold_sql or "") for task in judging}
    assert questions.isdisjoint(plain(builtin.tasks[task].question) for task in taught)
    assert statements.isdisjoint(plain(golds[task].gold_sql or "") for task in taught)
    assert len(taught) > len(judging)


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), min_size=1), min_size=1, max_size=6), st.floats(0.1, 1.0))
def test_databases_that_are_alike_are_together(columns: list[set[str]], likeness: float) -> None:
    catalogs = {f"d{number}": holding(*sorted(names)) for number, names in enumerate(columns)}
    groups = alike(catalogs, likeness)
    assert sorted(name for group in groups for name in group) == sorted(catalogs)
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    for one, other in combinations(range(len(columns)), 2):
        shared = len(columns[one] & columns[other]) / len(columns[one] | columns[other])
        assert shared < likeness or group_of[f"d{one}"] == group_of[f"d{other}"]


def test_too_few_databases_are_refused_in_one_line(builtin: TaskSet) -> None:
    with pytest.raises(BadInput, match=r"20 \+ 10 \+ 10 databases are to be kept out, but there are only \d+"):
        split(builtin, SplitConfig(online=10, validation=10, test=20))
