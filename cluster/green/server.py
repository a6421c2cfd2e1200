"""The Green Agent as an A2A server: an AgentBeats request in, task updates while it plays, a JSON artifact out."""

import asyncio
import json
import logging
import uuid
from pathlib import Path

import uvicorn
from a2a.helpers.proto_helpers import (
    get_data_parts,
    get_message_text,
    new_data_part,
    new_task_from_user_message,
    new_text_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message
from a2a.utils.constants import TransportProtocol
from starlette.applications import Starlette

from cluster.green.assessment import Assessment
from cluster.green.request import AssessmentRequest, read_request
from cluster.green.scores import scores_of, summary_of
from services.contracts.errors import BadInput, Infrastructure
from services.env_actor.taskset import TaskSet

ARTIFACT = "scores"
UPDATES = 20
"""Task updates that an assessment sends on its way, evenly spread."""
VERSION = "1.0"


class AssayGreenAgent:
    """Assesses the participants of one request after the other; each assessment leaves a run folder in `runs`."""

    def __init__(self, task_set: TaskSet, source: str, runs: Path) -> None:
        self._task_set = task_set
        self._source = source
        self._runs = runs
        self._turn = asyncio.Lock()

    def validate_request(self, request: AssessmentRequest) -> tuple[bool, str]:
        """Whether the request can be played on this server's task set, and if not, why."""
        wanted, there = request.config.tasks, len(self._task_set.tasks)
        if wanted is not None and wanted > there:
            return False, f"config.tasks is {wanted}, but {self._task_set.manifest.name} has {there} tasks"
        return True, "ok"

    async def run_eval(self, request: AssessmentRequest, updater: TaskUpdater) -> None:
        """Assess, with updates, and complete the task with the artifact. Raises Infrastructure."""
        async with self._turn:
            folder = self._runs / f"green-{uuid.uuid4().hex[:12]}"
            assessment = Assessment(self._task_set, self._source, request, folder)
            evaluation = await assessment.play(_Updates(updater).say)
        scores = scores_of(evaluation, request, folder.name)
        data = new_data_part(scores.model_dump(mode="json"), media_type="application/json")
        await updater.add_artifact([new_text_part(summary_of(scores)), data], name=ARTIFACT)
        await updater.complete(_said(updater, summary_of(scores)))


class GreenExecutor(AgentExecutor):
    """The A2A side of it: reads a message, and turns refusals and faults into task states."""

    def __init__(self, agent: AssayGreenAgent) -> None:
        self._agent = agent

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Assess what the message asks for; a request that is wrong is a rejected task that says why."""
        if context.message is None:
            raise ValueError("a request without a message")
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        try:
            request = self._checked(context.message)
        except BadInput as error:
            await updater.reject(_said(updater, str(error)))
            return
        await updater.start_work(_said(updater, f"assessing {', '.join(request.participants)}"))
        try:
            await self._agent.run_eval(request, updater)
        except (BadInput, Infrastructure) as error:
            await updater.failed(_said(updater, f"the assessment broke down: {error}"))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End the assessment; what is played so far stays in its run folder."""
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()

    def _checked(self, message: Message) -> AssessmentRequest:
        request = read_request(_request_text(message))
        fine, why = self._agent.validate_request(request)
        if not fine:
            raise BadInput(why)
        return request


class _Updates:
    """Tells how far an assessment is, a bounded number of times."""

    def __init__(self, updater: TaskUpdater) -> None:
        self._updater = updater
        self._told = 0

    async def say(self, done: int, planned: int) -> None:
        """Pass on what is worth an update."""
        if done * UPDATES // planned > self._told:
            self._told = done * UPDATES // planned
            await self._updater.start_work(_said(self._updater, f"{done} of {planned} episodes"))


def card_of(url: str, task_set: str) -> AgentCard:
    """The agent card. `url` is where others reach this server."""
    interfaces = [
        AgentInterface(url=url, protocol_binding=TransportProtocol.JSONRPC, protocol_version=version)
        for version in ("1.0", "0.3")
    ]
    skill = AgentSkill(
        id="assess",
        name="Assess SQL agents",
        description=f"Plays the participants on the task set {task_set} and returns scores with intervals as JSON.",
        tags=["green agent", "sql", "evaluation"],
        examples=['{"participants": {"agent": "http://127.0.0.1:9009"}, "config": {"tasks": 20, "seed": 7}}'],
    )
    return AgentCard(
        name="Assay Green Agent",
        description="Assesses agents that answer questions over SQL databases.",
        version=VERSION,
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[skill],
    )


def application(agent: AssayGreenAgent, card: AgentCard) -> Starlette:
    """The server as an ASGI application."""
    handler = DefaultRequestHandler(GreenExecutor(agent), InMemoryTaskStore(), card)
    routes = create_agent_card_routes(card) + create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True)
    return Starlette(routes=routes)


def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until the process is told to end."""
    logging.getLogger("a2a").setLevel(logging.WARNING)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)


def _request_text(message: Message) -> str:
    """The request as JSON text, from the data part or the text."""
    data = get_data_parts(message.parts)
    return json.dumps(data[0]) if data else get_message_text(message)


def _said(updater: TaskUpdater, text: str) -> Message:
    return updater.new_agent_message([new_text_part(text)])
