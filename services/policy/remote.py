"""A policy behind any OpenAI-compatible server.

A server that does not answer is a PolicyFault; one that says that the question itself is wrong is BadInput.
"""

import asyncio
import os
from collections.abc import Sequence

from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from services.contracts.errors import AssayError, BadInput, PolicyFault
from services.contracts.policy import AnyTurn, Decided, Decision, Usage
from services.policy.chat import messages_of, read_reply

TIMEOUT_S = 60.0
HTTP_RETRIES = 4
REQUESTS_AT_ONCE = 8
NO_KEY = "none"
MOST_TOKENS = 1 << 40
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

    async def act(self, turns: Sequence[AnyTurn]) -> list[Decided]:
        """One action a turn, in order. Raises PolicyFault if the server fails, BadInput if it refuses."""
        replies = await asyncio.gather(*map(self._ask, turns), return_exceptions=True)
        decided: list[Decided] = []
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
            decided.append(reply)
        return decided

    async def _ask(self, turn: AnyTurn) -> Decided:
        async with self._gate:
            try:
                answer = await self._client.chat.completions.create(
                    model=self._model, messages=_wire(turn), seed=turn.seed, user=turn.task_id
                )
            except APIError as error:
                raise self._explain(error) from error
            except ValueError as error:  # the client hands on what its JSON parser says
                raise PolicyFault(f"{self._where} gave an answer that is not JSON") from error
        action, usage = read_reply(self._content(answer), turn), _usage(answer)
        return action if usage is None else Decision(action=action, usage=usage)

    def _content(self, answer: object) -> str:
        """The text of the first choice. The client checks no types: anything may be anywhere. Raises PolicyFault."""
        choices = getattr(answer, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        content = getattr(message, "content", None)
        if message is None or not isinstance(content, str | None):
            raise PolicyFault(f"{self._where} gave an answer that is no chat completion")
        return content or ""

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


def _usage(answer: object) -> Usage | None:
    """The tokens that the server says it took; None if it says nothing that can be one."""
    said = getattr(answer, "usage", None)
    counts = [getattr(said, name, None) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) and 0 <= count < MOST_TOKENS else None for count in counts)
    if prompt is None or completion is None or not prompt + completion:
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


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
