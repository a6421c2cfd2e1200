"""A chat completion request handed on to another OpenAI-compatible server as it is, and its answer handed back.

Invariant: the caller gets an answer, or an error in OpenAI's form, within TOTAL_S; never this server's own key, never
more than ANSWER_BYTES. Nothing is tried again here: the caller's client does that, and knows how long it wants to wait.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import httpx
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from services.contracts.errors import PolicyFault
from services.contracts.record import Record
from services.policy.bounded import BoundedTransport
from services.policy.llm.settings import is_model, model_and_url
from services.policy.refusal import ErrorBody, ErrorDetail

TOTAL_S = 300.0
SILENCE_S = 60.0
CONNECT_S = 10.0
_OWN_KEY = frozenset({401, 403})
_DONE = b"[DONE]"


class Upstream(Record):
    """Another server and the model to ask it for; its key is read from the environment at each request."""

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"


def upstream_of(name: str) -> Upstream | None:
    """The server that a policy's name means, `openai:MODEL@URL`; None for every other policy."""
    if not is_model(name):
        return None
    model, url = model_and_url(name)
    return Upstream(url=url, model=model)


class Relay:
    """Hands requests on to one server."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        self._http = httpx.AsyncClient(transport=BoundedTransport(), timeout=timeout)

    async def relay(self, body: bytes, stream: bool) -> Response:
        """The other server's answer to the request. Raises PolicyFault if it gives none that can be handed on."""
        asked = self._request(body)
        try:
            async with asyncio.timeout(TOTAL_S):
                answer = await self._http.send(asked, stream=True)
                if stream and answer.status_code == 200:
                    return StreamingResponse(_handed_on(answer), media_type="text/event-stream")
                content = await answer.aread()
        except (httpx.HTTPError, TimeoutError) as error:
            raise PolicyFault(f"{self._where} gave no answer: {type(error).__name__}") from error
        return self._whole(answer, content)

    @property
    def _where(self) -> str:
        return f"{self._upstream.model} at {self._upstream.url}"

    def _request(self, body: bytes) -> httpx.Request:
        fields = {**json.loads(body), "model": self._upstream.model}
        key = os.environ.get(self._upstream.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{self._upstream.url.rstrip('/')}/chat/completions"
        return self._http.build_request("POST", url, json=fields, headers=headers)

    def _whole(self, answer: httpx.Response, content: bytes) -> Response:
        """An answer that has been read. Raises PolicyFault for what is neither an answer nor a refusal."""
        status = answer.status_code
        if status in _OWN_KEY:  # the caller's own key was fine: a 401 would tell it otherwise
            told = ErrorDetail(message=f"{self._where} refused this server's key", type="server_error")
            return _json(502, ErrorBody(error=told).model_dump_json().encode(), {"x-should-retry": "false"})
        if status == 200 and _is_object(content):
            return _json(200, content, {})
        if 400 <= status < 500:
            wait = answer.headers.get("retry-after")
            return _json(status, _error_of(content, status), {"retry-after": wait} if wait else {})
        raise PolicyFault(f"{self._where} failed with status {status}")


async def _handed_on(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The events as they come; one that says so if they end before they are complete."""
    tail, cause = b"", "it ended too early"
    try:
        async with asyncio.timeout(TOTAL_S):
            async for part in answer.aiter_bytes():
                tail = (tail + part)[-64:]
                yield part
    except (httpx.HTTPError, TimeoutError) as error:
        cause = type(error).__name__
    finally:
        await answer.aclose()
    if _DONE not in tail:
        told = ErrorBody(error=ErrorDetail(message=f"the stream broke: {cause}", type="server_error"))
        yield f"\n\ndata: {told.model_dump_json()}\n\n".encode()


def _error_of(content: bytes, status: int) -> bytes:
    """The error as it came if it has OpenAI's form, or else one that says the status alone."""
    try:
        error = json.loads(content)["error"]
        told = ErrorDetail(
            message=str(error["message"])[:1000],
            **{key: str(error[key]) for key in ("type", "param", "code") if error.get(key) is not None},
        )
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, ValidationError):
        told = ErrorDetail(message=f"the server behind this one refused with status {status}")
    return ErrorBody(error=told).model_dump_json().encode()


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _json(status: int, content: bytes, headers: dict[str, str]) -> Response:
    return Response(content, status, headers, media_type="application/json")
