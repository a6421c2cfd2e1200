"""A policy behind any OpenAI-compatible server.

A server that does not answer is a PolicyFault; one that says that the question itself is wrong is BadInput.
"""

import asyncio
import os
from collections.abc import Sequence

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from services.contracts.actions import Action
from services.contracts.errors import AssayError, BadInput, PolicyFault
from services.contracts.policy import AnyTurn
from services.policy.chat import messages_of, read_reply

TIMEOUT_S = 60.0
HTTP_RETRIES = 4
REQUESTS_AT_ONCE = 8
NO_KEY = "none"
_NOT_OURS_TO_SAY = frozenset({401, 403})
_WORTH_ANOTHER_TRY = frozenset({408, 409, 429})


class OpenAIPolicy:
    """A model of an OpenAI-compatible server; the key is read from the environment where the policy is made."""

    def __init__(self, base_url: str, model: str, key_variable: str = "", timeout_s: float = TIMEOUT_S) -> None:
        key = os.environ.get(key_variable, "") if key_variable else NO_KEY
        if not key:
            raise BadInput(f"set {key_variable} to the key of {base_url}")
        self._client = AsyncOpenAI(base_url=base_url, api_key=key, timeout=timeout_s, max_retries=HTTP_RETRIES)
        self._where = f"{model} at {base_url}"
        self._model = model
        self._gate = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises PolicyFault if the server fails, BadInput if it refuses."""
        replies = await asyncio.gather(*map(self._ask, turns), return_exceptions=True)
        actions: list[Action] = []
        for turn, reply in zip(turns, replies, strict=True):
            if isinstance(reply, BaseException):
                raise reply
            actions.append(read_reply(reply, turn))
        return actions

    async def _ask(self, turn: AnyTurn) -> str:
        async with self._gate:
            try:
                answer = await self._client.chat.completions.create(
                    model=self._model, messages=_wire(turn), seed=turn.seed, user=turn.task_id
                )
            except APIError as error:
                raise self._explain(error) from error
        if not answer.choices:
            raise PolicyFault(f"{self._where} gave no choice")
        return answer.choices[0].message.content or ""

    def _explain(self, error: APIError) -> AssayError:
        match error:
            case APIStatusError(status_code=status) if status < 500 and status not in _WORTH_ANOTHER_TRY:
                said = "" if status in _NOT_OURS_TO_SAY else f": {error.message[:300]}"
                return BadInput(f"{self._where} refused with status {status}{said}")
            case APIStatusError(status_code=status):
                return PolicyFault(f"{self._where} failed with status {status}")
            case APIConnectionError():
                return PolicyFault(f"{self._where} cannot be reached: {type(error).__name__}")
            case _:
                return PolicyFault(f"{self._where} gave an unreadable answer")


def _wire(turn: AnyTurn) -> list[ChatCompletionMessageParam]:
    messages: list[ChatCompletionMessageParam] = []
    for message in messages_of(turn):
        match message.role:
            case "assistant":
                messages.append({"role": "assistant", "content": message.content})
            case "user":
                messages.append({"role": "user", "content": message.content})
            case _:
                messages.append({"role": "system", "content": message.content})
    return messages
