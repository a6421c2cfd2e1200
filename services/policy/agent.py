"""A policy that is a remote agent behind A2A: one message a turn, one context an episode.

The text of a message is the newest observation, after the rules at first; its data part holds the whole chat, for an
agent that keeps nothing. A silent or broken agent is a PolicyFault; whatever it says is an action or Malformed.
"""

import asyncio
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

import httpx
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.helpers.proto_helpers import get_artifact_text, get_message_text, new_data_part, new_text_part
from a2a.types.a2a_pb2 import AgentCard, Message, Role, SendMessageRequest, StreamResponse, Task, TaskState
from a2a.utils.constants import TransportProtocol
from a2a.utils.errors import A2AError
from cachetools import LRUCache
from google.protobuf.json_format import ParseError

from services.contracts.actions import Action
from services.contracts.errors import PolicyFault
from services.contracts.policy import AnyTurn
from services.policy.bounded import BoundedTransport
from services.policy.chat import messages_of, read_reply

TIMEOUT_S = 60.0
REPLY_CHARACTERS = 100_000
CONTEXTS_KEPT = 4_096
_BROKEN = (
    A2AError,
    httpx.HTTPError,
    httpx.InvalidURL,
    ParseError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
"""What the SDK raises on an agent that fails, and on bytes that its parsers were not made for."""
_FAILED = (TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_REJECTED, TaskState.TASK_STATE_CANCELED)


class A2APolicy:
    """The agent at a base URL. Its card is read once; only the origin that we were given is ever called."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._contexts: LRUCache[int, str] = LRUCache(CONTEXTS_KEPT)

    async def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises PolicyFault."""
        return list(await asyncio.gather(*map(self.decide, turns)))

    async def decide(self, turn: AnyTurn) -> Action:
        """The action for one turn. Raises PolicyFault."""
        client = await self._connected()
        request = SendMessageRequest(message=self._message(turn))
        try:
            answers = [answer async for answer in client.send_message(request)]
            text = _text_of(answers[-1])
        except _BROKEN as error:
            raise PolicyFault(f"{self._url} failed: {type(error).__name__}: {str(error)[:300]}") from error
        return read_reply(text[:REPLY_CHARACTERS], turn)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> Client:
        http = httpx.AsyncClient(transport=BoundedTransport(), timeout=self._timeout_s)
        bindings = [TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON]
        config = ClientConfig(streaming=False, httpx_client=http, supported_protocol_bindings=list(bindings))
        try:
            card = await A2ACardResolver(http, self._url).get_agent_card()
            return ClientFactory(config).create(_at_origin(card, self._url))
        except _BROKEN as error:
            await http.aclose()
            said = f"{type(error).__name__}: {str(error)[:300]}"
            raise PolicyFault(f"{self._url} has no agent card that can be used: {said}") from error

    def _message(self, turn: AnyTurn) -> Message:
        messages = messages_of(turn)
        text = messages[-1].content if turn.history else f"{messages[0].content}\n\n{messages[-1].content}"
        chat = [{"role": message.role, "content": message.content} for message in messages]
        told = {"messages": chat, "seed": str(turn.seed), "task_id": turn.task_id}
        return Message(
            role=Role.ROLE_USER,
            message_id=str(uuid.uuid4()),
            context_id=self._context(turn),
            parts=[new_text_part(text), new_data_part(told)],
        )

    def _context(self, turn: AnyTurn) -> str:
        """The conversation of the turn's episode; a new one whenever an episode starts, for a second attempt too."""
        if not turn.history or turn.seed not in self._contexts:
            self._contexts[turn.seed] = str(uuid.uuid4())
        return self._contexts[turn.seed]


def _at_origin(card: AgentCard, url: str) -> AgentCard:
    """The card with every interface at the origin that we were told: a card must not send us elsewhere."""
    ours = urlsplit(url)
    for interface in card.supported_interfaces:
        theirs = urlsplit(interface.url)
        interface.url = urlunsplit((ours.scheme, ours.netloc, theirs.path, theirs.query, ""))
    return card


def _text_of(answer: StreamResponse) -> str:
    """What the agent said. Raises PolicyFault for a task that it did not finish."""
    if answer.HasField("message"):
        return get_message_text(answer.message)
    task: Task = answer.task
    if task.status.state in _FAILED:
        raise PolicyFault(f"the agent's task ended as {TaskState.Name(task.status.state)}")
    shown = "\n".join(map(get_artifact_text, task.artifacts))
    return shown or get_message_text(task.status.message)
