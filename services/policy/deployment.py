"""Policies behind Ray Serve: OpenAI-compatible HTTP outwards, and one batched call for Assay's own actors.

A replica keeps nothing between calls, so any replica can answer, and one that dies costs nothing.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.errors import AssayError, BadInput, PolicyFault
from services.contracts.observation import Observation
from services.contracts.policy import AnyPolicy, AnyTurn, Decided, Turn
from services.policy.admission import Admission, TooLong
from services.policy.completions import (
    WrongRequest,
    completion,
    events_of,
    model_list,
    read_envelope,
    read_request,
)
from services.policy.refusal import ErrorBody, ErrorDetail
from services.policy.upstream import Relay, upstream_of

_ELSEWHERE = ("openai:", "a2a:")
"""How the names of policies begin that are servers of others."""
_LOG = logging.getLogger("ray.serve")
ONGOING = 64
OPEN = Admission()
PROBE_S = 10.0
PROBE = Turn(
    task_id="probe",
    seed=0,
    first=Observation(question="How many rows are there?", schema_info="tables: t", budget_remaining=15),
    history=(),
)
"""What a health check asks."""


class PolicyHost:
    """Holds policies by name and answers for them."""

    def __init__(self, policies: Mapping[str, Callable[[], AnyPolicy]], admission: Admission = OPEN) -> None:
        self._policies = {name: make() for name, make in policies.items()}
        upstreams = {name: upstream_of(name) for name in policies}
        self._relays = {name: Relay(upstream) for name, upstream in upstreams.items() if upstream is not None}
        self._admission = admission
        self._created = int(time.time())

    async def act(self, name: str, turns: Sequence[AnyTurn]) -> Sequence[Decided]:
        """One action a turn, in order, from the policy of that name."""
        given = self._policies[name].act(turns)
        return given if isinstance(given, list) else await given

    async def check_health(self) -> None:
        """Ask every policy of this replica. Raises what ails one; a replica that raises or stays silent is replaced.

        A policy that says clearly what it cannot do lives, and another replica would mend no server but this one.
        """
        for name in self._policies:
            if not name.startswith(_ELSEWHERE):
                with suppress(AssayError):
                    await asyncio.wait_for(self.act(name, [PROBE]), PROBE_S)

    async def __call__(self, request: Request) -> Response:
        """Answer one HTTP request: GET /health, GET /v1/models or POST /v1/chat/completions."""
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if (request.method, path) == ("GET", "/health"):
            await self.check_health()
            return Response('{"status":"ok"}', media_type="application/json")
        if not self._admission.admits(request):
            return _refuse(401, "no or a wrong bearer token", "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        match request.method, path:
            case "GET", "/v1/models":
                return _json(200, model_list(self._policies, self._created))
            case "POST", "/v1/chat/completions":
                return await self._complete(request)
            case _, "/v1/models" | "/v1/chat/completions":
                return _refuse(405, f"{request.method} is not allowed for {path}")
            case _:
                return _refuse(404, f"there is nothing at {path}")

    async def _complete(self, request: Request) -> Response:
        try:
            body = await self._admission.body(request)
        except TooLong:
            most = self._admission.request_bytes
            return _refuse(413, f"a request may hold {most} bytes", "request_too_large")
        try:
            return await self._answer(body)
        except WrongRequest as error:
            return _refuse(400, str(error), param=error.param)
        except BadInput as error:
            return _refuse(400, str(error))
        except PolicyFault as error:
            return _refuse(503, str(error), kind="server_error")
        except Exception:  # noqa: BLE001  the request ends here: one policy's bug is told to one caller, without a trace
            _LOG.exception("a policy failed")
            return _refuse(500, "the policy failed at this request", kind="server_error")

    async def _answer(self, body: bytes) -> Response:
        """The answer to a request of bounded length. Raises BadInput, PolicyFault."""
        to = read_envelope(body)
        if to.model not in self._policies:
            told = f"no model {to.model}; this server has: {', '.join(self._policies)}"
            return _refuse(404, told, "model_not_found", param="model")
        if to.model in self._relays:
            return await self._relays[to.model].relay(body, bool(to.stream))
        asked = read_request(body)
        (decided,) = await self.act(asked.model, [asked.turn()])
        whole = completion(uuid.uuid4().hex, int(time.time()), asked, decided)
        if asked.stream:
            return Response("".join(events_of(whole, asked.wants_usage)), media_type="text/event-stream")
        return _json(200, whole)


def _refuse(
    status: int,
    message: str,
    code: str | None = None,
    kind: str = "invalid_request_error",
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error = ErrorDetail(message=message, type=kind, param=param, code=code)
    return _json(status, ErrorBody(error=error), headers)


def _json(status: int, body: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type="application/json")


PolicyDeployment: Any = serve.deployment(
    PolicyHost,
    name="policies",
    max_ongoing_requests=ONGOING,
    health_check_period_s=1,
    graceful_shutdown_wait_loop_s=0.1,
    graceful_shutdown_timeout_s=2,
)
