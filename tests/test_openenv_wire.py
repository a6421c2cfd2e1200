"""Over the wire: whole episodes, answers to whatever is sent, and an episode that outlives its connection."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contracts.trajectory import EpisodeSpec
from services.env_actor.openenv.client import ExploreEnv
from services.env_actor.openenv.explore import SQLAction
from services.env_actor.openenv.floor import FloorLimits
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from tests.conftest import Table
from tests.openenv_server import Bare, Served, serving


@pytest.fixture(scope="module")
def served(builtin: TaskSet, named_analyst_set: TaskSet) -> Iterator[Served]:
    with serving(builtin, named_analyst_set, floor=FloorLimits(sessions=150)) as server:
        yield server


TASK = "retail-000"
LOOK = [("DESCRIBE", "orders"), ("SAMPLE", "orders"), ("QUERY", "SELECT count(*) FROM orders"), ("FLY", "away")]


def script(golds: dict[str, GoldAnswer]) -> list[tuple[str, str]]:
    return [*LOOK, ("ANSWER", submission(golds[TASK].gold_answer))]


@pytest.mark.parametrize("path", ["/explore", ""])
async def test_the_official_client_plays_a_whole_episode(
    served: Served, golds: dict[str, GoldAnswer], path: str
) -> None:
    async with ExploreEnv(served.url + path) as env:
        result = await env.reset(task_id=TASK, seed=7)
        assert (result.reward, result.done, result.observation.step_count) == (None, False, 0)
        assert "orders" in result.observation.schema_info
        rewards = []
        for kind, argument in script(golds):
            result = await env.step(SQLAction(action_type=kind, argument=argument))
            rewards.append(result.reward)
        state = await env.state()
    assert result.done
    assert result.metadata["verdict"] == "correct"
    assert (state.step_count, state.done, state.task_id, state.seed) == (5, True, TASK, 7)
    assert state.reward == pytest.approx(sum(rewards))


def test_a_bare_client_gets_the_rewards_and_texts_of_the_episode_itself(
    served: Served, table: Table, golds: dict[str, GoldAnswer]
) -> None:
    spec = EpisodeSpec(run_id="r", task_set_hash="h", task_id=TASK, policy="p", seed=3, sample_index=0)
    with served.socket() as bare:
        bare.ask("reset", task_id=TASK, seed=spec.episode_seed())
        told = [bare.step(kind, argument)["data"] for kind, argument in script(golds)]
    episode = table.play(TASK, [f"{kind} {argument}" for kind, argument in script(golds)], seed=spec.episode_seed())
    assert [each["reward"] for each in told] == [step.reward for step in episode.steps]
    assert [each["metadata"]["components"] for each in told] == [dict(step.components) for step in episode.steps]
    assert [each["observation"]["result"] for each in told] == [step.result for step in episode.steps]


def test_the_observation_on_the_wire_has_the_fields_of_the_specification(served: Served) -> None:
    with served.socket() as bare:
        seen = bare.ask("reset", task_id=TASK)["data"]
    assert set(seen["observation"]) == {
        "question", "schema_info", "result", "error", "step_count", "budget_remaining", "action_history", "metadata",
    }  # fmt: skip


def test_an_action_that_does_not_validate_is_an_answer_and_no_step(served: Served) -> None:
    with served.socket() as bare:
        assert bare.step("DESCRIBE", "orders")["data"]["message"] == "no episode: reset first"
        bare.ask("reset", task_id=TASK)
        for wrong in ({}, {"action_type": 3, "argument": "x"}, {"action_type": "QUERY", "argument": "x", "more": 1}):
            answer = bare.ask("step", **wrong) if wrong else bare.say('{"type": "step", "data": {}}')
            assert (answer["type"], answer["data"]["code"]) == ("error", "VALIDATION_ERROR")
        assert bare.ask("state")["data"]["step_count"] == 0
        assert bare.step("FLY", "away")["data"]["observation"]["error"].startswith("no action")
        assert bare.ask("reset", task_id="none-such")["data"]["code"] == "VALIDATION_ERROR"
        assert bare.ask("state")["data"]["step_count"] == 1


def test_an_answer_carries_the_id_of_its_request(served: Served) -> None:
    with served.socket() as bare:
        messages = [
            {"type": "reset", "data": {"task_id": TASK}, "request_id": "a"},
            {"type": "step", "data": {"action_type": "QUERY", "argument": "SELECT 1"}, "request_id": 2},
            {"type": "step", "data": {}, "request_id": "c"},
            {"type": "state", "request_id": "d"},
        ]
        for message in messages:
            bare.connection.send(json.dumps(message))
        assert [bare.hear()["request_id"] for _ in messages] == ["a", 2, "c", "d"]


def test_whoever_knows_the_id_goes_on_with_an_episode_whose_connection_is_gone(served: Served) -> None:
    with served.socket() as bare:
        episode_id = bare.ask("reset", task_id=TASK, seed=1)["data"]["metadata"]["episode_id"]
        last = bare.step("DESCRIBE", "orders")["data"]
    with served.socket() as bare:
        again = bare.ask("reset", episode_id=episode_id)["data"]
        assert again["metadata"]["resumed"]
        assert (again["observation"]["result"], again["reward"]) == (last["observation"]["result"], last["reward"])
        assert bare.step("DESCRIBE", "orders")["data"]["metadata"]["components"]["repeat"] < 0
    with served.socket(f"/explore/ws?episode_id={episode_id}") as bare:
        assert bare.ask("state")["data"]["step_count"] == 2
        assert bare.ask("reset", episode_id=episode_id)["data"]["observation"]["step_count"] == 0


async def test_the_typed_client_goes_on_after_a_lost_connection(served: Served) -> None:
    async with ExploreEnv(served.url) as env:
        await env.reset(task_id=TASK)
        await env.step(SQLAction(action_type="DESCRIBE", argument="orders"))
        env._ws.transport.abort()
        await env._ws.wait_closed()
        result = await env.step(SQLAction(action_type="DESCRIBE", argument="orders"))
        assert result.observation.step_count == 2


def test_a_second_connection_takes_an_episode_over_from_one_that_may_be_dead(served: Served) -> None:
    with served.socket() as old, served.socket() as new:
        episode_id = old.ask("reset", task_id=TASK)["data"]["metadata"]["episode_id"]
        assert new.ask("reset", episode_id=episode_id, task_id="retail-001")["data"]["code"] == "SESSION_ERROR"
        assert old.ask("state")["data"]["episode_id"] == episode_id
        assert new.ask("reset", episode_id=episode_id)["data"]["metadata"]["resumed"]
        served.until(lambda: old.connection.protocol.close_code is not None)
        assert new.step("DESCRIBE", "orders")["data"]["observation"]["step_count"] == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "action_type": st.sampled_from(["DESCRIBE", "SAMPLE", "QUERY", "ANSWER", "FLY", ""]) | JSON,
        "argument": st.text() | JSON,
        "seed": JSON,
        "episode_id": JSON,
        "task_id": JSON,
        "metadata": JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(["reset", "step", "step", "state", "mcp"]) | JSON},
    optional={"data": FIELDS | JSON, "request_id": JSON, "more": JSON},
)


def test_whatever_is_sent_is_answered_and_the_session_lives(served: Served) -> None:
    with served.socket() as bare:

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(st.text() | st.binary(max_size=60) | MESSAGES.map(json.dumps) | JSON.map(json.dumps))
        def fuzz(raw: str | bytes) -> None:
            raw = raw if isinstance(raw, bytes) else raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            answer = bare.say(raw)
            assert answer["type"] in ("observation", "state", "error"), answer

        fuzz()
        for raw in ("[" * 100_000, "1" * 5_000, '{"type": "step", "data": {"argument": "\\ud800"}}'):
            assert bare.say(raw)["type"] == "error"
        assert bare.ask("reset", task_id=TASK)["type"] == "observation"
    served.until(lambda: served.floor.seats_taken == 0)


def test_a_flood_of_unanswered_requests_ends_its_connection_only(served: Served) -> None:
    with served.socket() as bare, served.socket() as other:
        assert isinstance(other, Bare)
        bare.ask("reset", task_id=TASK)
        slow = json.dumps({"type": "step", "data": {"action_type": "QUERY", "argument": SLOW}})
        for _ in range(80):
            bare.connection.send(slow)
        served.until(lambda: bare.connection.protocol.close_code is not None)
        assert other.ask("reset", task_id=TASK)["type"] == "observation"


SLOW = "SELECT count(*) FROM range(3000000000) AS a(x) WHERE x % 7 = 3"
