"""One model at one OpenAI-compatible server: a question in, what it said out, or a fault.

Invariant: no answer takes more memory than ANSWER_BYTES, and none is waited for longer than `patience_s`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import cast

import httpx2
from aiolimiter import AsyncLimiter
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncOpenAI,
    DefaultAioHttpClient,
    DefaultAsyncHttpxClient,
    omit,
)
from openai.types.chat import ChatCompletion, ChatCompletionToolUnionParam

from services.contracts.errors import AssayError, BadInput, PolicyFault
from services.policy.bounded import ANSWER_BYTES
from services.policy.llm.answers import Answered, answered
from services.policy.llm.settings import ModelSettings
from services.policy.llm.tools import Tool
from services.policy.llm.transcript import Messages

NO_KEY = "none"
AIOHTTP_FROM = 100
"""Requests at once from which aiohttp carries them: half the CPU time a call, but slower to set up."""
_MAY_PASS = frozenset({401, 403, 408, 409, 425, 429})
"""A key that has expired, a quota that is used up, a server that is busy: no word about the question itself."""
MINUTE_S = 60.0


class Endpoint:
    """Asks one model; at most so many requests at once, and a minute."""

    def __init__(self, base_url: str, model: str, key_variable: str, settings: ModelSettings) -> None:
        key = os.environ.get(key_variable, "") if key_variable else NO_KEY
        if not key:
            raise BadInput(f"set {key_variable} to the key of {base_url}")
        self.where = f"{model} at {base_url}"
        self._model = model
        self._settings = settings
        self._http = _http_client(settings)
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=key,
            timeout=settings.timeout_s,
            max_retries=settings.retries,
            http_client=self._http,
        )
        self._gate = asyncio.Semaphore(settings.requests_at_once)
        self._limiter = _limiter_of(base_url, settings.requests_per_minute)
        self._answers = 0

    async def ask(self, messages: Messages, tools: Sequence[Tool], seed: int, user: str) -> Answered:
        """What the model says. Raises PolicyFault; BadInput if the server refuses what it is asked from the start."""
        async with self._gate:
            if self._limiter is not None:
                await self._limiter.acquire()
            try:
                async with asyncio.timeout(self._settings.patience_s):
                    answer = await self._complete(messages, tools, seed, user)
            except TimeoutError as error:
                raise PolicyFault(f"{self.where} gave no answer in {self._settings.patience_s:g} s") from error
        found = answered(answer, self.where)
        self._answers += 1
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _complete(self, messages: Messages, tools: Sequence[Tool], seed: int, user: str) -> ChatCompletion:
        settings = self._settings
        try:
            return await self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                seed=seed,
                user=user or omit,
                max_tokens=settings.reply_tokens,
                temperature=omit if settings.temperature is None else settings.temperature,
                tools=cast("list[ChatCompletionToolUnionParam]", list(tools)) if tools else omit,
            )
        except APIError as error:
            raise self._explain(error) from error
        except ValueError as error:  # the client hands on what its JSON parser says
            raise PolicyFault(f"{self.where} gave an answer that is not JSON") from error

    def _explain(self, error: APIError) -> AssayError:
        match error:
            case APIStatusError(status_code=status) if status < 500 and status not in _MAY_PASS and not self._answers:
                return BadInput(f"{self.where} refused with status {status}: {error.message[:300]}")
            case APIStatusError(status_code=status):
                said = f" ({error.code})" if isinstance(error.code, str) else ""
                return PolicyFault(f"{self.where} failed with status {status}{said[:100]}", asked=False)
            case APIConnectionError():
                unheard = isinstance(error.__cause__, httpx2.ConnectError)
                return PolicyFault(f"{self.where} cannot be reached: {type(error).__name__}", asked=not unheard)
            case _:
                return PolicyFault(f"{self.where} gave an unreadable answer")


def _http_client(settings: ModelSettings) -> httpx2.AsyncClient:
    at_once = settings.requests_at_once
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    make = DefaultAioHttpClient if at_once >= AIOHTTP_FROM else DefaultAsyncHttpxClient
    headers = {"Accept-Encoding": "identity"}
    return make(limits=limits, timeout=settings.timeout_s, headers=headers, event_hooks={"response": [_bound]})


async def _bound(answer: httpx2.Response) -> None:
    """Let an answer be read up to ANSWER_BYTES only. Raises httpx2.ReadError for a compressed one: it may be a bomb."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise httpx2.ReadError("the answer is compressed, which was not asked for", request=answer.request)
    answer.stream = _Bounded(cast(httpx2.AsyncByteStream, answer.stream), answer.request)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, request: httpx2.Request) -> None:
        self._inner = inner
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._inner:
            read += len(part)
            if read > ANSWER_BYTES:
                raise httpx2.ReadError(f"the answer is longer than {ANSWER_BYTES} bytes", request=self._request)
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


@lru_cache(maxsize=256)
def _limiter_of(base_url: str, per_minute: float | None) -> AsyncLimiter | None:
    """The limiter of an endpoint: one a process, whatever models are asked there. It lets no burst through."""
    return None if per_minute is None else AsyncLimiter(1, MINUTE_S / per_minute)
