"""Real Serve scales policies up under load and down again, and neither that nor a replica's kill -9 loses a request."""

import asyncio
import itertools
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import APIStatusError, AsyncOpenAI, AuthenticationError, InternalServerError, OpenAI, RateLimitError
from ray import serve
from ray.serve.schema import ReplicaState
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from cluster.listening import check_port
from cluster.service import AutoscalingConfig, ServiceConfig
from cluster.serving import serve_as_configured
from cluster.session import ray_session
from services.contracts.actions import Answer, ExploreAction
from services.contracts.observation import Observation
from services.contracts.policy import AnyTurn, Turn
from services.policy.admission import Admission, digest
from services.policy.deployment import PROBE
from services.policy.handle import HandlePolicy
from services.policy.registry import policy_maker
from tests.test_serve import SAID

SLOW_S = 0.3
PATIENCE_S = 60.0
FIRST = Observation(question="How many?", schema_info="tables: orders", budget_remaining=15)
BUSY, CALM, FLOOD = 12, 2, 80
TOKEN = "a-token-of-some-length"
CONFIG = ServiceConfig(
    name="scaled",
    autoscaling_config=AutoscalingConfig(
        max_replicas=3,
        target_ongoing_requests=4,
        upscale_delay_s=0.2,
        downscale_delay_s=0.5,
        metrics_interval_s=0.2,
        look_back_period_s=0.5,
    ),
    max_ongoing_requests=8,
    max_queued_requests=24,
    health_check_period_s=1,
)


class Slow:
    """Takes its time, and says who answered what."""

    async def act(self, turns: Sequence[AnyTurn]) -> list[ExploreAction]:
        await asyncio.sleep(SLOW_S)
        return [Answer(value=f"{turn.seed}/{os.getpid()}") for turn in turns]


class Gated:
    """Answers once a file is there."""

    def __init__(self, opened: Path) -> None:
        self._opened = opened

    async def act(self, turns: Sequence[AnyTurn]) -> list[ExploreAction]:
        while turns[0] != PROBE and not self._opened.exists():
            await asyncio.sleep(0.05)
        return [Answer(value="") for _ in turns]


class Broken:
    """A policy with a bug that no health check finds."""

    def act(self, turns: Sequence[AnyTurn]) -> list[ExploreAction]:
        if turns[0] != PROBE:
            raise ZeroDivisionError("secret")
        return [Answer(value="")]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_session():
        yield


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that lets Gated answer."""
    return tmp_path_factory.mktemp("gate") / "opened"


@pytest.fixture(scope="module")
def url(opened: Path) -> Iterator[str]:
    makers = {"slow": Slow, "gated": partial(Gated, opened), "heuristic": policy_maker("heuristic"), "broken": Broken}
    config = CONFIG.model_copy(update={"port": check_port(CONFIG.host, 0)})
    with serve_as_configured(makers, config, Admission(token_sha256=digest(TOKEN), request_bytes=10_000)) as url:
        yield url


class Load:
    """Callers that ask one thing after another, and what became of each of their requests."""

    def __init__(self, url: str) -> None:
        self._seeds = itertools.count()
        self._url = url
        self.asked: set[int] = set()
        self.answered: Counter[int] = Counter()
        self.by: Counter[int] = Counter()
        self.retries = 0

    @property
    def done(self) -> int:
        """How many requests have been answered."""
        return sum(self.answered.values())

    @asynccontextmanager
    async def of(self, callers: int, retries: int) -> AsyncIterator[None]:
        """So many callers by HTTP and a third as many by handle, until the block ends; then their last answers."""
        stop = asyncio.Event()
        async with (
            aclosing(HandlePolicy("scaled", "slow")) as policy,
            AsyncOpenAI(base_url=self._url, api_key=TOKEN, max_retries=retries) as client,
        ):
            asking = [self._ask_http(client)] * callers + [self._ask_handle(policy)] * (callers // 3)
            async with asyncio.TaskGroup() as group:
                for ask in asking:
                    group.create_task(self._keep_on(ask, stop))
                try:
                    yield
                finally:
                    stop.set()

    async def _keep_on(self, ask: Callable[[int], Any], stop: asyncio.Event) -> None:
        while not stop.is_set():
            seed = next(self._seeds)
            self.asked.add(seed)
            of, _, by = (await ask(seed)).partition("/")
            self.answered[int(of)] += 1
            self.by[int(by)] += 1

    def _ask_http(self, client: AsyncOpenAI) -> Callable[[int], Any]:
        async def ask(seed: int) -> str:
            raw = await client.chat.completions.with_raw_response.create(model="slow", messages=SAID, seed=seed)
            self.retries += raw.retries_taken
            return str(raw.parse().choices[0].message.content).removeprefix("ANSWER ")

        return ask

    def _ask_handle(self, policy: HandlePolicy) -> Callable[[int], Any]:
        async def ask(seed: int) -> str:
            (action,) = await policy.act([Turn(task_id="", seed=seed, first=FIRST, history=())])
            assert isinstance(action, Answer)
            return action.value

        return ask


def states() -> dict[ReplicaState, int]:
    """How many replicas are in each state, as Serve says."""
    return dict(serve.status().applications["scaled"].deployments["policies"].replica_states)


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds."""
    waiting = Retrying(
        retry=retry_if_result(lambda held: not held), stop=stop_after_delay(PATIENCE_S), wait=wait_fixed(0.1)
    )
    await asyncio.to_thread(waiting, holds)


async def kill_one(load: Load) -> None:
    """Kill -9 a replica that is at work, and return once another has taken its place."""
    seen, done = len(load.by), load.done
    await until(lambda: load.done > done + BUSY)
    victim = next(pid for pid, _ in load.by.most_common() if psutil.pid_exists(pid))
    psutil.Process(victim).kill()
    await until(lambda: len(load.by) > seen and load.done > done + 4 * BUSY)


@pytest.mark.soak  # it waits for replicas to come and go
async def test_replicas_come_with_load_and_go_without_it_and_no_request_is_lost(url: str) -> None:
    load = Load(url)
    assert states() == {ReplicaState.RUNNING: 1}
    async with load.of(BUSY, retries=0):  # growing costs nobody anything, without any retry
        await until(lambda: states() == {ReplicaState.RUNNING: 3} and len(load.by) == 3)
    async with load.of(BUSY, retries=2):  # the client's own default
        while load.retries == 0:  # until a kill has hit a request that came by HTTP
            await kill_one(load)
    retried = load.retries
    async with load.of(CALM, retries=0):  # nor does shrinking: what a replica has begun, it finishes
        await until(lambda: states() == {ReplicaState.RUNNING: 1})
    assert load.retries == retried
    assert load.answered == Counter(load.asked)


async def test_what_finds_the_queue_full_is_told_when_to_come_again(url: str, opened: Path) -> None:
    async with AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
        ask = client.chat.completions.create
        asking = [asyncio.create_task(ask(model="gated", messages=SAID, seed=seed)) for seed in range(FLOOD)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
        opened.touch()
        told = await asyncio.gather(*asking, return_exceptions=True)
    refused = [error for error in told if isinstance(error, BaseException)]
    assert 0 < len(refused) <= FLOOD - CONFIG.max_queued_requests
    for error in refused:
        assert isinstance(error, RateLimitError)
        assert (error.type, error.code) == ("rate_limit_error", "rate_limit_exceeded")
        assert error.response.headers["retry-after"] == "1"


def test_the_token_and_the_forms_of_errors_hold_on_serve_too(url: str) -> None:
    with OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger, pytest.raises(AuthenticationError):
        stranger.models.list()
    with OpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["slow", "gated", "heuristic", "broken"]
        with client.chat.completions.stream(model="heuristic", messages=SAID, seed=1) as stream:
            assert stream.get_final_completion().choices[0].message.content == "DESCRIBE orders"
        with pytest.raises(InternalServerError) as caught:
            client.chat.completions.create(model="broken", messages=SAID)
        assert (caught.value.status_code, caught.value.type) == (500, "server_error")
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(model="slow", messages=[{"role": "user", "content": "x" * 20_000}])
        assert refused.value.status_code == 413


class HangsOnce:
    """Blocks its replica at the first question that anybody asks."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def act(self, turns: Sequence[AnyTurn]) -> list[ExploreAction]:
        if turns[0] != PROBE and not self._marker.exists():
            self._marker.touch()
            threading.Event().wait()
        return [Answer(value="3") for _ in turns]


@pytest.mark.soak
async def test_a_replica_that_hangs_is_replaced_and_its_call_made_again(tmp_path: Path) -> None:
    times = {"health_check_period_s": 1, "health_check_timeout_s": 2, "drain_s": 1, "port": check_port("127.0.0.1", 0)}
    config = CONFIG.model_copy(update=times)
    turn = Turn(task_id="", seed=0, first=FIRST, history=())
    with serve_as_configured({"hangs": partial(HangsOnce, tmp_path / "hung")}, config, Admission()):
        async with aclosing(HandlePolicy("scaled", "hangs")) as policy:
            assert await policy.act([turn]) == [Answer(value="3")]
    assert (tmp_path / "hung").exists()
