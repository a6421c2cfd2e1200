"""Policies behind Ray Serve: OpenAI-compatible HTTP outwards, and one batched call for Assay's own actors.

A replica keeps nothing between calls, so any replica can answer, and one that dies costs nothing.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.errors import BadInput, PolicyFault
from services.contracts.policy import AnyPolicy, AnyTurn, Decided
from services.policy.completions import ErrorBody, ErrorDetail, completion, model_list, read_request

ONGOING = 64


class PolicyHost:
    """Holds policies by name and answers for them."""

    def __init__(self, policies: Mapping[str, Callable[[], AnyPolicy]]) -> None:
        self._policies = {name: make() for name, make in policies.items()}
        self._created = int(time.time())

    async def act(self, name: str, turns: Sequence[AnyTurn]) -> Sequence[Decided]:
        """One action a turn, in order, from the policy of that name."""
        given = self._policies[name].act(turns)
        return given if isinstance(given, list) else await given

    async def __call__(self, request: Request) -> Response:
        """Answer one HTTP request: GET /v1/models or POST /v1/chat/completions."""
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        match request.method, path:
            case "GET", "/v1/models":
                return _json(200, model_list(self._policies, self._created))
            case "POST", "/v1/chat/completions":
                return await self._complete(await request.body())
            case _, "/v1/models" | "/v1/chat/completions":
                return _refuse(405, f"{request.method} is not allowed for {path}")
            case _:
                return _refuse(404, f"there is nothing at {path}")

    async def _complete(self, body: bytes) -> Response:
        try:
            request = read_request(body)
        except BadInput as error:
            return _refuse(400, str(error))
        if request.model not in self._policies:
            known = ", ".join(self._policies)
            return _refuse(404, f"no model {request.model}; this server has: {known}", "model_not_found")
        try:
            turn = request.turn()
        except BadInput as error:
            return _refuse(400, str(error))
        try:
            (decided,) = await self.act(request.model, [turn])
        except PolicyFault as error:
            return _refuse(503, str(error), kind="server_error")
        return _json(200, completion(uuid.uuid4().hex, int(time.time()), request.model, decided))


def _refuse(status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> Response:
    return _json(status, ErrorBody(error=ErrorDetail(message=message, type=kind, code=code)))


def _json(status: int, body: BaseModel) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


PolicyDeployment: Any = serve.deployment(
    PolicyHost,
    name="policies",
    max_ongoing_requests=ONGOING,
    health_check_period_s=1,
    graceful_shutdown_wait_loop_s=0.1,
    graceful_shutdown_timeout_s=2,
)
