"""A request that is handed on: the other server's answers come through as they are, whatever it does to us."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from openai import APIError, APIStatusError, BadRequestError, InternalServerError, OpenAI, RateLimitError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from cluster.listening import check_port
from services.policy.admission import Admission, digest
from services.policy.proxy_errors import OpenAIErrors
from services.policy.registry import policy_maker
from tests.openai_server import answering, hosting

TOKEN, KEY = "a-token-of-some-length", "the-upstreams-own-key"
SAID: list[Any] = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
WHOLE = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [], "usage": None}
CHUNK = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": []}
NAME = "the policy"


class Upstream:
    """Does what the request's `user` says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    async def __call__(self, request: Request) -> Response:
        fields = json.loads(await request.body())
        self.asked.append((request.headers.get("authorization", ""), fields))
        match fields.get("user"):
            case "busy":
                return _error(429, {"retry-after": "7"})
            case "wrong":
                return _error(400, {})
            case "denied":
                return _error(401, {})
            case "down":
                return _error(500, {})
            case "hang":
                await asyncio.Event().wait()
            case "long":
                return Response(b"[" + b" " * 10_000_000 + b"]", media_type="application/json")
            case "page":
                return Response("<html>", media_type="text/html")
            case "odd":
                return Response("teapot", 418)
            case "elsewhere":
                return RedirectResponse("http://127.0.0.1:1/", 307)
            case "cut" | "stream":
                return StreamingResponse(_stream(fields["user"] == "stream"), media_type="text/event-stream")
            case _:
                return Response(json.dumps(WHOLE), media_type="application/json")
        raise AssertionError


async def _stream(complete: bool) -> AsyncIterator[str]:
    yield f"data: {json.dumps(CHUNK)}\n\n"
    if complete:
        yield "data: [DONE]\n\n"


def _error(status: int, headers: dict[str, str]) -> Response:
    error = {"message": "theirs", "type": "their_type", "param": "user", "code": "their_code"}
    return Response(json.dumps({"error": error}), status, headers, media_type="application/json")


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@dataclass(frozen=True)
class Caller:
    """A client of ours, and the names of the policies that it can ask."""

    client: OpenAI
    names: dict[str, str]

    def ask(self, user: str, name: str = NAME, **options: Any) -> Any:
        return self.client.chat.completions.create(model=self.names[name], messages=SAID, user=user, **options)


@pytest.fixture(scope="module")
def caller(upstream: Upstream) -> Iterator[Caller]:
    with ExitStack() as opened, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setattr("services.policy.upstream.SILENCE_S", 0.5)
        there = opened.enter_context(answering(upstream))
        nobody = f"http://127.0.0.1:{check_port('127.0.0.1', 0)}/v1"
        names = {name: f"openai:gpt@{url}" for name, url in ((NAME, there), ("nobody", nobody))}
        makers = {name: policy_maker(name) for name in names.values()}
        url = opened.enter_context(hosting(makers, Admission(token_sha256=digest(TOKEN))))
        client = opened.enter_context(OpenAI(base_url=url, api_key=TOKEN, max_retries=0))
        yield Caller(client, names)


def test_a_request_goes_on_as_it_came_but_for_model_and_key(caller: Caller, upstream: Upstream) -> None:
    assert caller.ask("fine", temperature=0.5).id == "x"
    key, fields = upstream.asked[-1]
    assert key == f"Bearer {KEY}"
    assert fields == {"model": "gpt", "messages": SAID, "user": "fine", "temperature": 0.5}


def test_a_stream_comes_through(caller: Caller) -> None:
    assert [chunk.id for chunk in caller.ask("stream", stream=True)] == ["x"]


def test_a_stream_that_is_cut_off_is_an_error_and_not_an_end(caller: Caller) -> None:
    stream = caller.ask("cut", stream=True)
    assert next(stream).id == "x"
    with pytest.raises(APIError, match="the stream broke"):
        next(stream)


def test_a_busy_upstream_says_when_to_come_again(caller: Caller) -> None:
    with pytest.raises(RateLimitError) as caught:
        caller.ask("busy")
    assert caught.value.response.headers["retry-after"] == "7"
    assert (caught.value.type, caught.value.param, caught.value.code) == ("their_type", "user", "their_code")


def test_a_refusal_is_handed_back_as_it_is(caller: Caller) -> None:
    with pytest.raises(BadRequestError, match="theirs"):
        caller.ask("wrong")
    with pytest.raises(APIStatusError, match="refused with status 418"):
        caller.ask("odd")


def test_an_upstream_that_refuses_our_key_is_not_the_callers_doing(caller: Caller) -> None:
    with pytest.raises(InternalServerError, match="refused this server's key") as caught:
        caller.ask("denied")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert KEY not in caught.value.response.text


@pytest.mark.parametrize("user", ["down", "hang", "long", "page", "elsewhere"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_fails_is_a_server_error(caller: Caller, user: str, stream: bool) -> None:
    with pytest.raises(APIError) as caught:
        list(caller.ask(user, stream=stream))
    assert caught.value.type == "server_error"


def test_an_upstream_that_is_not_there_is_a_server_error(caller: Caller) -> None:
    with pytest.raises(InternalServerError, match="gave no answer: ConnectError"):
        caller.ask("fine", "nobody")


def test_a_proxy_that_gives_no_answer_is_given_one() -> None:
    async def silent(request: Request) -> Any:
        return _nothing

    async def _nothing(*_: object) -> None:
        return None

    server, caught = answering(silent, OpenAIErrors), pytest.raises(InternalServerError)
    with server as url, OpenAI(base_url=url, api_key="none", max_retries=0) as client, caught as error:
        client.models.list()
    assert (error.value.status_code, error.value.code) == (503, "unavailable")
