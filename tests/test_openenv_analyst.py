"""The analyst over the wire, and both environments beside the env actor that plays rollouts."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from services.contracts.actions import Action, SQLAction, parse_action
from services.contracts.policy import AnyTurn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.openenv import analyst
from services.env_actor.openenv.client import AnalystEnv
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of
from tests.openenv_server import Served, serving

WRONG, BROKEN = "SELECT 1", "SELEC nonsense"


@pytest.fixture(scope="module")
def served(builtin: TaskSet, named_analyst_set: TaskSet) -> Iterator[Served]:
    with serving(builtin, named_analyst_set, default="analyst") as server:
        yield server


@pytest.mark.parametrize("task_id", ["fix_broken_join", "category_revenue", "churn_analysis"])
async def test_the_official_client_solves_a_task_of_the_analyst(
    served: Served, named_analyst_set: TaskSet, task_id: str
) -> None:
    right = read_gold(named_analyst_set.gold_path)[task_id].gold_sql
    async with AnalystEnv(served.url) as env:
        first = (await env.reset(task_id=task_id)).observation
        assert (first.task_id, first.last_result, first.error_message) == (task_id, [], None)
        assert first.schema_
        await env.step(analyst.SQLAction(sql_query=WRONG))
        failed = await env.step(analyst.SQLAction(sql_query=BROKEN))
        assert failed.reward == pytest.approx(-0.10)
        assert failed.observation.error_message
        last = await env.step(analyst.SQLAction(sql_query=right, is_done=True))
    assert (last.done, last.metadata["verdict"]) == (True, "correct")
    assert last.metadata["score"] >= 0.8
    assert len(last.observation.last_result) <= 5
    assert last.observation.step_history == [WRONG, BROKEN, f"DONE {right}"[:200]]


def test_the_analysts_fields_on_the_wire_are_those_of_the_requirements(served: Served) -> None:
    with served.socket("/analyst/ws") as bare:
        seen = bare.ask("reset", task_id="churn_analysis")["data"]["observation"]
        assert set(seen) == {
            "schema", "last_result", "error_message", "step_history", "question", "task_id", "metadata",
        }  # fmt: skip
        assert "score" not in bare.ask("step", sql_query=WRONG)["data"]["metadata"]
    with served.socket("/ws") as bare:
        assert bare.ask("reset", task_id="churn_analysis")["data"]["observation"].keys() == seen.keys()


class Script:
    """A policy that says its lines."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self._actions = actions

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        return [self._actions[len(turn.history)] for turn in turns]


async def rollout(task_set: TaskSet, task_id: str, actions: Sequence[Action], budget: int) -> Trajectory:
    """The actions as the env actor plays them."""
    stored: list[Trajectory] = []

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        stored.extend(trajectories)

    setup = ActorSetup(
        task_set=address_of(task_set), limits=EpisodeLimits(budget=budget), sandbox=SandboxLimits(children=4)
    )
    actor = EnvActor(setup, {"script": lambda: Script(actions)}, GoldGrader.read, keep)
    spec = EpisodeSpec(run_id="r", task_set_hash="h", task_id=task_id, policy="script", seed=0, sample_index=0)
    await actor.play([spec])
    actor.close()
    return stored[0]


def wire_form(action: Action) -> dict[str, Any]:
    if isinstance(action, SQLAction):
        return {"sql_query": action.sql_query, "is_done": action.is_done}
    kind, _, argument = f"{action.kind} {next(iter(action.model_dump(exclude={'kind'}).values()))}".partition(" ")
    return {"action_type": kind, "argument": argument}


async def test_the_same_actions_earn_the_same_as_in_the_env_actor(
    served: Served, builtin: TaskSet, named_analyst_set: TaskSet
) -> None:
    join = read_gold(named_analyst_set.gold_path)["fix_broken_join"].gold_sql
    explored = [
        parse_action(text) for text in ("DESCRIBE orders", "SAMPLE orders", "QUERY SELECT count(*) FROM orders")
    ]
    analysed = [SQLAction(sql_query=sql) for sql in (WRONG, join, BROKEN, join)]
    plays: list[tuple[TaskSet, str, str, Sequence[Action], int]] = [
        (builtin, "explore", "retail-001", [*explored, *explored, parse_action("ANSWER 12")], 15),
        (named_analyst_set, "analyst", "fix_broken_join", [*analysed, SQLAction(sql_query="", is_done=True)], 10),
    ]
    for task_set, path, task_id, actions, budget in plays:
        played = await rollout(task_set, task_id, actions, budget)
        with served.socket(f"/{path}/ws") as bare:
            bare.ask("reset", task_id=task_id, seed=played.spec.episode_seed())
            told = [bare.ask("step", **wire_form(action))["data"] for action in actions]
        assert [each["reward"] for each in told] == [step.reward for step in played.steps]
        assert [each["metadata"]["components"] for each in told] == [dict(step.components) for step in played.steps]
        assert told[-1]["metadata"]["verdict"] == played.verdict
