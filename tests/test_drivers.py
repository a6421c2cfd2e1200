"""Whoever drives an episode, a server or a person, an answer is paid by the same rule: on the variants too."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.green.local import LocalEnvironment
from cluster.interactive import play
from cluster.verifying import verifier_for
from services.contracts.actions import Answer, Query
from services.contracts.tasks import EpisodeLimits
from services.env_actor.gym import VERBS, ExploreGym
from services.env_actor.openenv.explore import ExploreStage, SQLAction
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from tests.variation import Desk, with_variants

TASK = "retail-004"
"""What is the name of the product with the highest list price? Break ties alphabetically by name."""
Drive = Callable[[TaskSet, str, str], str | None]


def by_gymnasium(task_set: TaskSet, sql: str, answer: str) -> str | None:
    env = ExploreGym(task_set, GoldGrader.read(task_set.gold_path), verifier=verifier_for)
    env.reset(options={"task_id": TASK})
    env.step({"action_type": VERBS.index("QUERY"), "argument": sql})
    *_, told = env.step({"action_type": VERBS.index("ANSWER"), "argument": answer})
    env.close()
    return str(told["verdict"])


def by_a_green_agent(task_set: TaskSet, sql: str, answer: str) -> str | None:
    with LocalEnvironment(task_set) as env:
        while env.task is None or env.task.task_id != TASK:
            env.reset()
        env.step(Query(sql=sql))
        env.step(Answer(value=answer))
        assert env.episode is not None
        return env.episode.verdict()


def by_a_person(task_set: TaskSet, sql: str, answer: str) -> str | None:
    lines = iter((f"QUERY {sql}", f"ANSWER {answer}"))
    return play(task_set, task_set.tasks[TASK], lambda prompt: next(lines), lambda said: None).verdict()


def by_openenv(task_set: TaskSet, sql: str, answer: str) -> str | None:
    async def played() -> str | None:
        paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
        grader = GoldGrader.read(task_set.gold_path)
        async with SandboxPool(paths, SandboxLimits(children=2)) as pool:
            stage = ExploreStage(task_set, grader, pool, EpisodeLimits(), verifier_for(task_set, grader, pool))
            episode = stage.begin(TASK, 1)
            await episode.step(SQLAction(action_type="QUERY", argument=sql))
            await episode.step(SQLAction(action_type="ANSWER", argument=answer))
            return episode.verdict

    return asyncio.run(played())


@pytest.fixture(scope="module")
def retail(builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    return with_variants(builtin, tmp_path_factory.mktemp("drivers") / "set", ["retail"])


@pytest.mark.parametrize("drive", [by_gymnasium, by_a_green_agent, by_a_person, by_openenv])
def test_a_hard_coded_answer_is_paid_by_nobody_and_the_gold_by_all(drive: Drive, retail: TaskSet) -> None:
    right = Desk.of(retail).right(TASK)
    coded = f"SELECT name FROM products WHERE name = '{right}'"
    assert drive(retail, coded, right) == "correct_on_base_only"
    assert drive(retail, read_gold(Path(retail.gold_path))[TASK].gold_sql, right) == "correct"
