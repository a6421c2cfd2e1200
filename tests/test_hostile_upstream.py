"""Whatever a model's server does, each episode ends as docs/agents.md says: the table there is what is tried here."""

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cluster.config import RolloutConfig
from cluster.models import makers_of
from services.contracts.errors import BadInput
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.llm.endpoint import AIOHTTP_FROM
from services.policy.llm.settings import ModelSettings
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of
from tests.upstream import Upstream, completion, dripping, error, forever

PAGE = (Path(__file__).parents[1] / "docs" / "agents.md").read_text()
ROWS = re.findall(
    r"^\| (?!what the server|---)(.+?) \| (.+?) \| (.+?) \|$", PAGE[PAGE.index("| what the server") :], re.M
)
"""What the server does, the verdict or the fault, why."""
TASK = "retail-000"
GOOD = ("DESCRIBE orders", "QUERY SELECT count(*) FROM orders", "ANSWER 411")
Wild = Callable[[Upstream, web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def solves(body: dict[str, Any]) -> web.Response:
    return web.json_response(completion(GOOD[sum(said["role"] == "assistant" for said in body["messages"])]))


async def busy_first(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if server.asked[body["model"]] % 2:
        return error(429, "rate_limit_exceeded", {"Retry-After": "0.01"})
    return solves(body)


async def busy(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return error(429, "rate_limit_exceeded", {"Retry-After": "0.01"})


async def quota(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return error(429, "insufficient_quota", {"Retry-After": "0.01"})


async def broken(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return error(500, "oops")


async def expired(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return solves(body) if server.asked[body["model"]] == 1 else error(401, "invalid_api_key")


async def cut(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    whole = json.dumps(completion(GOOD[0])).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def huge(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion("ANSWER " + "9" * 10_000_000))


async def bomb(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    packed = gzip.compress(json.dumps(completion("ANSWER " + "9" * 3_000_000)).encode())
    return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def other_schema(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"answer": 42})


async def no_json(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text="<html>hello", content_type="application/json")


async def refuses(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion(None, refusal="I would rather not"))


async def empty(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion(""))


async def babbles(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion("I think that the answer is near."))


WAYS: dict[str, Wild] = {
    "429 with Retry-After, then an answer": busy_first,
    "429 every time": busy,
    "429 of a quota that is used up": quota,
    "500": broken,
    "a key that expires in the middle: 401": expired,
    "takes the request and is silent": forever,
    "sends a byte now and then": dripping,
    "closes the connection in the middle of its answer": cut,
    "an answer of 10 MB": huge,
    "a compressed answer that nobody asked for": bomb,
    "JSON of another schema": other_schema,
    "no JSON": no_json,
    "a refusal of the model": refuses,
    "an empty reply": empty,
    "prose without an action": babbles,
}


@pytest.fixture(scope="module", params=[AIOHTTP_FROM - 1, AIOHTTP_FROM], ids=["httpx", "aiohttp"])
def outcomes(builtin: TaskSet, request: pytest.FixtureRequest) -> dict[str, Trajectory]:
    """What an episode came to in each way, all of them at the same time; with either carrier of requests."""

    async def one(way: Wild) -> Trajectory:
        async with Upstream(way).serving() as server:
            return await play(server.url, builtin, at_once=request.param)

    async def all_of_them() -> list[Trajectory]:
        return await asyncio.gather(*map(one, WAYS.values()))

    return dict(zip(WAYS, asyncio.run(all_of_them()), strict=True))


@pytest.mark.parametrize(("does", "ends", "why"), ROWS, ids=[row[0] for row in ROWS])
def test_each_outcome_is_the_documented_one(does: str, ends: str, why: str, outcomes: dict[str, Trajectory]) -> None:
    played = outcomes[does]
    if ends.startswith("fault"):
        assert played.fault is not None
        assert (played.verdict, played.reward, played.truncation) == ("ungraded", None, None)
        assert f"fault `{played.fault.kind}`" == ends
    else:
        assert played.fault is None
        assert (f"`{played.verdict}`", played.reward is None) == (ends, False)


def test_the_page_names_every_way_that_is_tried() -> None:
    assert [row[0] for row in ROWS] == list(WAYS)


async def test_an_outage_until_the_episodes_own_deadline_is_a_fault_and_no_truncation(builtin: TaskSet) -> None:
    async with Upstream(forever).serving() as server:
        played = await play(server.url, builtin, wall_s=0.3, patience_s=60.0)
    assert played.fault is not None
    assert played.fault.kind == "Overdue"
    assert (played.verdict, played.reward, played.truncation) == ("ungraded", None, None)


async def test_a_broken_server_hurts_only_those_who_ask_it(builtin: TaskSet) -> None:
    """Of the episodes that ask at the same time, one is answered with garbage, the others are right."""

    async def one_bad(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await other_schema(server, request, body) if body["seed"] == bad else solves(body)

    async with Upstream(one_bad).serving() as server:
        name = f"openai:m@{server.url}"
        specs = [spec_of(builtin, name, sample) for sample in range(12)]
        bad = specs[5].episode_seed()
        played = await play_all(specs, builtin, config_of(name))
    assert [one.verdict for one in played] == ["correct"] * 5 + ["ungraded"] + ["correct"] * 6


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_server_that_refuses_the_first_question_ends_the_run_with_one_line(
    status: int, builtin: TaskSet
) -> None:
    async def refusing(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return error(status, "model_not_found")

    async with Upstream(refusing).serving() as server:
        with pytest.raises(BadInput, match=f"refused with status {status}: .*no: model_not_found"):
            await play(server.url, builtin)


async def test_a_context_that_grows_too_long_for_the_server_is_a_fault(builtin: TaskSet) -> None:
    async def short(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return solves(body) if len(body["messages"]) == 2 else error(400, "context_length_exceeded")

    async with Upstream(short).serving() as server:
        played = await play(server.url, builtin)
    assert played.fault is not None
    assert "status 400 (context_length_exceeded)" in played.fault.message


async def play(
    url: str, builtin: TaskSet, wall_s: float = 60.0, patience_s: float = 2.0, at_once: int = 64
) -> Trajectory:
    """The episode of a model at that address."""
    name = f"openai:m@{url}"
    config = config_of(name, patience_s, at_once)
    async with asyncio.timeout(60):
        (played,) = await play_all([spec_of(builtin, name, 0)], builtin, config, wall_s)
    return played


def config_of(name: str, patience_s: float = 2.0, at_once: int = 64) -> RolloutConfig:
    asked = ModelSettings(retries=1, timeout_s=5.0, patience_s=patience_s, requests_at_once=at_once)
    return RolloutConfig(name="hostile", policies=(name,), models={name: asked})


def spec_of(builtin: TaskSet, name: str, sample: int) -> EpisodeSpec:
    return EpisodeSpec(
        run_id="r",
        task_set_hash=builtin.manifest.task_set_hash(),
        task_id=TASK,
        policy=name,
        seed=0,
        sample_index=sample,
    )


async def play_all(
    specs: Sequence[EpisodeSpec], builtin: TaskSet, config: RolloutConfig, wall_s: float = 60.0
) -> list[Trajectory]:
    """What an env actor delivers of the episodes, in order."""
    kept: list[Trajectory] = []

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        kept.extend(trajectories)

    setup = ActorSetup(task_set=address_of(builtin), limits=EpisodeLimits(wall_s=wall_s), sandbox=SandboxLimits())
    actor = EnvActor(setup, makers_of(config), GoldGrader.read, keep)
    try:
        await actor.play(specs)
    finally:
        actor.close()
    return sorted(kept, key=lambda one: one.spec.sample_index)
