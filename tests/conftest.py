"""What the tests share: the built-in task set, made once, and a way to play an episode without Ray."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported
# ruff: noqa: E402

from cluster.tasksets.analyst.generated import generate as generate_analyst
from cluster.tasksets.generated import generate
from services.contracts.actions import ExploreAction, parse_action
from services.contracts.errors import PolicyFault
from services.contracts.policy import Turn
from services.contracts.statements import StatementOutcome
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.explore import ExploreEpisode
from services.env_actor.fetching import TaskSetAddress
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer, read_gold
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from tests.analyst_table import AnalystTable


@pytest.fixture(scope="session")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    """The built-in task set in a folder of its own."""
    folder = tmp_path_factory.mktemp("tasksets") / "builtin"
    asyncio.run(generate(folder, 0))
    return TaskSet(folder)


@pytest.fixture(scope="session")
def named_analyst_set(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    """The analyst's three named tasks in a folder of their own."""
    folder = tmp_path_factory.mktemp("tasksets") / "analyst"
    asyncio.run(generate_analyst(folder, 0, 1))
    return TaskSet(folder)


@pytest.fixture(scope="session")
def golds(builtin: TaskSet) -> dict[str, GoldAnswer]:
    """The gold of the built-in tasks."""
    return read_gold(builtin.gold_path)


def address_of(task_set: TaskSet) -> TaskSetAddress:
    """The address of a task set that lies in a folder of this machine."""
    return TaskSetAddress(
        folder=task_set.folder, task_set_hash=task_set.manifest.task_set_hash(), source=str(task_set.folder)
    )


class Down:
    """A policy whose own service fails."""

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        raise PolicyFault("connection refused")


@dataclass
class Table:
    """Plays scripted episodes of one task set on a sandbox of its own, without Ray."""

    task_set: TaskSet
    grader: GoldGrader
    pool: SandboxPool
    runner: asyncio.Runner

    def run(self, database: str, sql: str) -> StatementOutcome:
        """The outcome of one statement."""
        return self.runner.run(self.pool.run(database, sql))[0]

    def catalog(self, task_id: str) -> DatabaseCatalog:
        """The catalog of the task's database."""
        return self.task_set.catalog(self.task_set.tasks[task_id].database)

    def start(self, task_id: str, budget: int = 15, seed: int = 1) -> ExploreEpisode:
        """A new episode."""
        return ExploreEpisode(self.task_set.tasks[task_id], self.catalog(task_id), self.grader, seed, budget)

    def play(
        self, task_id: str, actions: Sequence[str | ExploreAction], budget: int = 15, seed: int = 1
    ) -> ExploreEpisode:
        """An episode after the actions, or as many of them as it lasts."""
        episode = self.start(task_id, budget, seed)
        for text in actions:
            if episode.over:
                break
            action = parse_action(text) if isinstance(text, str) else text
            sql = episode.statement(action)
            outcome = None if sql is None else self.run(self.task_set.tasks[task_id].database, sql)
            episode.apply(action, outcome)
        return episode


@pytest.fixture(scope="session")
def table(builtin: TaskSet) -> Iterator[Table]:
    """A table to play built-in tasks at."""
    paths = {name: builtin.database_path(name) for name in builtin.manifest.databases}
    with asyncio.Runner() as runner:

        async def pool() -> SandboxPool:
            return SandboxPool(paths, SandboxLimits())

        made = runner.run(pool())
        try:
            yield Table(builtin, GoldGrader.read(builtin.gold_path), made, runner)
        finally:
            made.close()


@pytest.fixture(scope="session")
def analyst_set(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    """Three instances of each of the analyst's tasks."""
    folder = tmp_path_factory.mktemp("tasksets") / "analyst"
    asyncio.run(generate_analyst(folder, 5, 3))
    return TaskSet(folder)


@pytest.fixture(scope="session")
def analyst(analyst_set: TaskSet) -> Iterator[AnalystTable]:
    """A table to play the analyst's tasks at."""
    paths = {name: analyst_set.database_path(name) for name in analyst_set.manifest.databases}
    golds = read_gold(analyst_set.gold_path)
    with asyncio.Runner() as runner:

        async def pool() -> SandboxPool:
            return SandboxPool(paths, SandboxLimits())

        made = runner.run(pool())
        try:
            yield AnalystTable(analyst_set, golds, GoldGrader(golds), made, runner)
        finally:
            made.close()
