"""A policy behind any OpenAI-compatible server.

A server that does not answer, or may not, is a PolicyFault; whatever the model says is an action or Malformed. What a
server refuses from the very first question on is BadInput: it was given a wrong address or a wrong model.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

from openai.types.chat import ChatCompletionMessageParam

from services.contracts.actions import Action
from services.contracts.errors import BadInput, PolicyFault
from services.contracts.etl import EtlDecision, EtlTurn
from services.contracts.frozen import FrozenJob
from services.contracts.policy import AnyTurn, Decided, Decision, Turn, Usage
from services.policy.chat import messages_of, read_reply
from services.policy.llm.answers import Answered
from services.policy.llm.endpoint import Endpoint
from services.policy.llm.metering import Freely, Meter, Question
from services.policy.llm.prompting import Prompts
from services.policy.llm.reading import Reply, analyst_action, explore_action, read_etl_reply
from services.policy.llm.settings import ModelSettings
from services.policy.llm.tools import tools_of
from services.policy.llm.transcript import Messages, Transcript, bytes_of, setting_of

TIMEOUT_S = 60.0
HTTP_RETRIES = 4


class Asked:
    """A model with its prompts: a turn in, an answer and its price out. What all environments share."""

    def __init__(self, endpoint: Endpoint, settings: ModelSettings, meter: Meter) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._meter = meter
        self._transcript = Transcript(Prompts(settings.prompts), settings.style == "tools", settings.history_tokens)

    async def ask(self, turn: AnyTurn | EtlTurn) -> tuple[Answered, float | None]:
        """What the model says, and its price. Raises PolicyFault, OverBudget, BadInput."""
        messages = self._messages(turn)
        tools = tools_of(setting_of(turn)) if self._settings.style == "tools" else []
        question = Question(prompt_bytes=bytes_of(messages, tools), reply_tokens=self._settings.reply_tokens)
        number = await self._meter.reserve(question)
        usage: Usage | None = None
        asked = True
        try:
            answer = await self._endpoint.ask(messages, tools, turn.seed, task_of(turn))
            usage = answer.usage
        except BadInput:
            asked = False
            raise
        except PolicyFault as error:
            asked = error.asked
            raise
        finally:
            usd = await self._meter.settle(number, usage, asked)
        return answer, usd

    def _messages(self, turn: AnyTurn | EtlTurn) -> Messages:
        if self._settings.style != "exact":
            return self._transcript.messages(turn)
        if isinstance(turn, EtlTurn):
            raise BadInput("style: exact is for explore and the analyst; play ETL jobs with text or tools")
        said = ({"role": message.role, "content": message.content} for message in messages_of(turn))
        return [cast(ChatCompletionMessageParam, message) for message in said]


class OpenAIPolicy:
    """A model of an OpenAI-compatible server; the key is read from the environment where the policy is made."""

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str = "",
        timeout_s: float = TIMEOUT_S,
        settings: ModelSettings | None = None,
        meter: Meter | None = None,
    ) -> None:
        settings = settings or ModelSettings(style="exact", timeout_s=timeout_s, retries=HTTP_RETRIES)
        self._endpoint = Endpoint(base_url, model, key_variable, settings)
        self._asked = Asked(self._endpoint, settings, meter or Freely())
        self._exact = settings.style == "exact"

    async def act(self, turns: Sequence[AnyTurn]) -> list[Decided]:
        """One action a turn, in order. Raises PolicyFault if the server fails, BadInput if it refuses."""
        replies = await asyncio.gather(*map(self.decide, turns), return_exceptions=True)
        decided: list[Decided] = []
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
            decided.append(reply)
        return decided

    async def decide(self, turn: AnyTurn) -> Decided:
        """The decision for one turn. Raises as `act` does, and OverBudget."""
        answer, usd = await self._asked.ask(turn)
        action, reasoning = self._read(answer.reply, turn)
        if answer.usage is None and not reasoning:
            return action
        return Decision(action=action, usage=answer.usage, usd=usd, reasoning=reasoning)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    def _read(self, reply: Reply, turn: AnyTurn) -> tuple[Action, str]:
        if self._exact:
            return read_reply(reply.content, turn), reply.thinking
        return explore_action(reply) if isinstance(turn, Turn) else analyst_action(reply)


class OpenAIEtlPolicy:
    """A model that rewrites ETL jobs. One job at a time: each call waits for its answer."""

    def __init__(self, base_url: str, model: str, key_variable: str, settings: ModelSettings, meter: Meter) -> None:
        self._runner = asyncio.Runner()
        self._asked = Asked(Endpoint(base_url, model, key_variable, settings), settings, meter)

    def act(self, turn: EtlTurn) -> EtlDecision:
        """The next action. Raises PolicyFault if the server fails, BadInput if it refuses."""
        answer, usd = self._runner.run(self._asked.ask(turn))
        action = read_etl_reply(answer.reply, FrozenJob(turn.job_id))
        return EtlDecision(action=action, usage=answer.usage, usd=usd)


def task_of(turn: AnyTurn | EtlTurn) -> str:
    """The name of the task, as the server is told it."""
    return turn.task_key if isinstance(turn, EtlTurn) else turn.task_id
