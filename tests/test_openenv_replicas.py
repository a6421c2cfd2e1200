"""The OpenEnv server on real Ray Serve: it grows with its sessions, which stay where they are."""

import json
import resource
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest
from ray import serve
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from cluster.etl.serving import EtlServing
from cluster.listening import check_port
from cluster.openenv import OpenEnvConfig
from cluster.openenv_replicas import replicated
from cluster.serving import serving_app
from cluster.session import ray_session
from services.env_actor.openenv.client import SESSION, ExploreEnv
from services.env_actor.openenv.explore import SQLAction
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from services.sandbox.limits import ACTOR_MB, OWN_MB, SandboxLimits
from tests.openenv_server import Bare

TASK = "retail-000"
MOST = 2


@pytest.fixture(scope="module")
def url(named_analyst_set: TaskSet) -> Iterator[str]:
    config = OpenEnvConfig(
        analyst_tasks=str(named_analyst_set.folder),
        etl=EtlServing(scale="tiny"),
        sandbox=SandboxLimits(children=1),
    )
    with (
        ray_session(),
        serving_app(replicated(config, MOST, 2), "openenv", "127.0.0.1", check_port("127.0.0.1", 0)) as at,
    ):
        yield at
        left = connect(at.replace("http", "ws", 1) + "/explore/ws", proxy=None)
        Bare(left).ask("reset", task_id=TASK)
    with pytest.raises(ConnectionClosed):  # the command's end does not wait for it
        left.recv(timeout=30)


def running() -> int:
    """Replicas that serve."""
    found = serve.status().applications["openenv"].deployments["openenv"].replica_states
    return {str(state): count for state, count in found.items()}.get("RUNNING", 0)


def socket(url: str, opened: ExitStack, name: str, path: str = "/explore/ws") -> Bare:
    where = url.replace("http", "ws", 1) + path
    made: ClientConnection = opened.enter_context(connect(where, proxy=None, additional_headers={SESSION: name}))
    return Bare(made)


@pytest.mark.soak  # first, so that the others find two replicas
def test_it_grows_with_its_sessions_and_every_session_stays_where_it_is(url: str, golds: dict[str, GoldAnswer]) -> None:
    answer = submission(golds[TASK].gold_answer)
    with ExitStack() as opened:
        early = [socket(url, opened, f"early-{number}") for number in range(6)]
        for bare in early:
            assert bare.ask("reset", task_id=TASK)["type"] == "observation"
        rounds = 0
        while running() < MOST and rounds < 10_000:
            rounds += 1
            for bare in early:
                bare.step("DESCRIBE", "orders")
                bare.ask("reset", task_id=TASK)
        assert running() == MOST
        late = [socket(url, opened, f"late-{number}") for number in range(12)]
        for bare in late:
            bare.ask("reset", task_id=TASK)
        for bare in (*early, *late):
            assert bare.step("DESCRIBE", "orders")["data"]["observation"]["step_count"] == 1
            last = bare.step("ANSWER", answer)["data"]
            assert (last["done"], last["metadata"]["verdict"]) == (True, "correct")
        assert len(sessions_by_replica(url)) == MOST


def sessions_by_replica(url: str) -> set[str]:
    """The figures of all replicas that hold a session."""
    found = set()
    with httpx.Client(base_url=url, trust_env=False) as http:
        for number in range(24):
            text = http.get("/metrics", headers={SESSION: f"reader-{number}"}).text
            held = {line for line in text.splitlines() if line.startswith(("assay_openenv_sessions ", "process_start"))}
            episodes = {line for line in text.splitlines() if line.startswith("assay_openenv_episodes_total")}
            found.add(json.dumps(sorted(held | episodes)))
    return found


async def test_a_client_that_lost_its_connection_finds_its_episode_at_the_same_replica(url: str) -> None:
    for _ in range(6):
        async with ExploreEnv(url) as env:
            await env.reset(task_id=TASK)
            await env.step(SQLAction(action_type="DESCRIBE", argument="orders"))
            env._ws.transport.abort()
            await env._ws.wait_closed()
            result = await env.step(SQLAction(action_type="DESCRIBE", argument="orders"))
            assert result.observation.step_count == 2


def test_over_http_an_episode_goes_on_for_those_who_say_which_session_it_is(url: str) -> None:
    for name in ("one", "two", "three"):
        with httpx.Client(base_url=url, trust_env=False, headers={SESSION: name}) as http:
            begun = http.post("/explore/reset", json={"task_id": TASK}).json()
            action = {"action_type": "DESCRIBE", "argument": "orders"}
            body: dict[str, Any] = {"action": action, "episode_id": begun["metadata"]["episode_id"]}
            assert http.post("/explore/step", json=body).json()["observation"]["step_count"] == 1


@pytest.mark.soak
def test_a_job_is_played_in_a_replica(url: str) -> None:
    with ExitStack() as opened:
        bare = socket(url, opened, "etl", "/etl/ws")
        seen = bare.ask("reset", task_id="march_orders")["data"]["observation"]
        ran = bare.ask("step", kind="RUN", statements=seen["original"])["data"]["observation"]
        assert ran["error"] == ""
        assert bare.ask("step", kind="VERIFY")["data"]["observation"]["result"].startswith("equal: ")


def test_a_replica_stays_on_two_cores_and_within_its_memory(url: str) -> None:
    replicas = [each for each in psutil.process_iter(["name"]) if "ServeReplica:openenv" in each.info["name"]]
    assert replicas
    for replica in replicas:
        assert len(replica.cpu_affinity()) <= 2
        most, _ = resource.prlimit(replica.pid, resource.RLIMIT_DATA)
        assert OWN_MB * 2**20 <= most < ACTOR_MB * 2**20
