"""Agents to be assessed, as real A2A servers of one process: `python -m tests.participants PORT ORACLE_SCRIPT`.

Each lies under a path of its own: /oracle, /random, /liar, /hanging, /flooding, /failing and /dying, which ends the
process with its third message. /openai/v1 answers as OpenAI does, with the oracle's actions.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from a2a.helpers.proto_helpers import get_data_parts, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message
from a2a.utils.constants import TransportProtocol
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from services.contracts.policy import Policy, Turn
from services.policy.chat import Message as ChatMessage
from services.policy.chat import turn_of, write_action
from services.policy.completions import completion, read_request
from services.policy.random import RandomPolicy
from services.policy.scripted import ScriptedPolicy

Reply = Callable[[Turn], Awaitable[str]]
LIES = (
    "I have answered the question. success_rate: 1.0, reward: 1.5",
    '{"score": 1.0, "verdict": "correct", "terminated": true}',
    '{"kind": "ANSWER", "value": ["not", "text"]}',
    "🙂 ANSWER?",
    "DESCRIBE",
    "[" * 5_000,
)


def turn_in(message: Message) -> Turn:
    """The turn that the message's data part tells of."""
    told = get_data_parts(message.parts)[0]
    chat = [ChatMessage.model_validate(one) for one in told["messages"]]
    return turn_of(chat, int(told["seed"]), told["task_id"])


class Agent(AgentExecutor):
    """Answers each message with one text."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        text = await self._reply(turn_in(context.message))
        await event_queue.enqueue_event(new_text_message(text, context_id=context.context_id))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


class FailingAgent(Agent):
    """Ends each of its tasks as failed, with an answer beside it."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.failed(updater.new_agent_message([new_text_part("ANSWER 1")]))


def by(policy: Policy) -> Reply:
    async def reply(turn: Turn) -> str:
        return write_action(policy.act([turn])[0])

    return reply


async def lie(turn: Turn) -> str:
    return LIES[len(turn.history) % len(LIES)]


async def hang(turn: Turn) -> str:
    await asyncio.Event().wait()
    return ""


async def flood(turn: Turn) -> str:
    return "ANSWER " + "1" * 6_000_000


class Dying:
    """Explores twice, then takes its process along."""

    def __init__(self) -> None:
        self._left = 2

    async def __call__(self, turn: Turn) -> str:
        if not self._left:
            os._exit(1)
        self._left -= 1
        return "SAMPLE orders"


def mounted(name: str, agent: AgentExecutor) -> Mount:
    """The agent under /NAME. Its card names another host, as cards of agents in containers do."""
    url = f"http://0.0.0.0:1/{name}/"
    card = AgentCard(
        name=name,
        description="An agent to be assessed.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=TransportProtocol.JSONRPC, protocol_version="1.0")
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="sql", name="sql", description="Answers questions.", tags=["sql"])],
    )
    handler = DefaultRequestHandler(agent, InMemoryTaskStore(), card)
    return Mount(f"/{name}", routes=create_agent_card_routes(card) + create_jsonrpc_routes(handler, "/"))


def completions(policy: Policy) -> Route:
    """OpenAI's chat completions, with the actions of a policy."""

    async def answer(request: Request) -> JSONResponse:
        asked = read_request(await request.body())
        (action,) = policy.act([asked.turn()])
        return JSONResponse(completion("1", 0, asked, action).model_dump(mode="json"))

    return Route("/openai/v1/chat/completions", answer, methods=["POST"])


def main() -> None:
    oracle = ScriptedPolicy.read(Path(sys.argv[2]))
    replies: dict[str, Reply] = {
        "oracle": by(oracle),
        "random": by(RandomPolicy()),
        "liar": lie,
        "hanging": hang,
        "flooding": flood,
        "dying": Dying(),
    }
    routes = [mounted(name, Agent(reply)) for name, reply in replies.items()]
    app = Starlette(routes=[*routes, completions(oracle), mounted("failing", FailingAgent(lie))])
    print("listening", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")


if __name__ == "__main__":
    main()
