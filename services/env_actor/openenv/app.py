"""One app for all environments: each under its name, one of them at the root too, figures under /metrics.

OpenEnv makes the HTTP routes and the /web page; the WebSocket is ours, since its own drops a connection at an action
that does not validate, hears of a lost one only after its step, and keeps a thread for each.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from openenv.core.env_server.http_server import create_app, create_fastapi_app
from openenv.core.env_server.mcp_types import JsonRpcErrorCode, JsonRpcResponse
from openenv.core.env_server.types import ServerMode
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket

from services.env_actor.openenv.environment import FloorEnvironment
from services.env_actor.openenv.floor import Floor
from services.env_actor.openenv.stage import Refusal, Stage
from services.env_actor.openenv.wire import Connection

OPENENV = "assay_"
"""What OpenEnv's own task routes have before an environment's name: /assay_explore/tasks."""
_REPLACED = frozenset({"/ws", "/mcp"})
Life = Callable[[], AbstractAsyncContextManager[None]]


def make_app(stages: Sequence[Stage], at_root: str, floor: Floor, life: Life) -> Starlette:
    """The app of these stages. `life` is entered before the first request and left after the last one."""
    mounts = [Mount(f"/{stage.name}", app=environment_app(stage, floor, create_fastapi_app)) for stage in stages]
    root = environment_app(next(stage for stage in stages if stage.name == at_root), floor, create_app)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with life(), floor.open_for_threads(), root.router.lifespan_context(root):
            yield

    metrics = Route("/metrics", partial(_metrics, floor))
    app = Starlette(routes=[metrics, *mounts, Mount("/", app=root)], lifespan=lifespan)
    app.state.floor = floor
    return app


def environment_app(stage: Stage, floor: Floor, create: Callable[..., FastAPI]) -> FastAPI:
    """OpenEnv's app of one environment, with our WebSocket in it."""
    app = create(
        partial(FloorEnvironment, floor, stage),
        stage.action,
        stage.observation,
        env_name=f"{OPENENV}{stage.name}",
        max_concurrent_envs=1,
        state_cls=stage.state,
        mode=ServerMode.SIMULATION,
    )
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in _REPLACED]

    async def play(websocket: WebSocket) -> None:
        await Connection(websocket, floor, stage).serve()

    app.router.add_websocket_route("/ws", play)
    app.router.routes.insert(0, app.router.routes.pop())  # before a page at /web that would take it
    app.add_api_route("/mcp", _no_mcp, methods=["POST"], tags=["Environment Info"])
    app.router.routes.insert(0, app.router.routes.pop())
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ValidationError, _invalid)
    return app


async def _no_mcp() -> dict[str, object]:
    """Says over JSON-RPC that there are no MCP tools: an action here is a step."""
    answer = JsonRpcResponse.error_response(JsonRpcErrorCode.METHOD_NOT_FOUND, "this environment has no MCP tools")
    told: dict[str, object] = answer.model_dump()
    return told


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refusal) else 500
    return JSONResponse({"detail": str(error)}, status)


async def _invalid(_: Request, error: Exception) -> Response:
    details = (
        error.errors(include_url=False, include_context=False, include_input=False)
        if isinstance(error, ValidationError)
        else []
    )
    return JSONResponse({"detail": details}, 422)


async def _metrics(floor: Floor, _: Request) -> Response:
    return Response(generate_latest(floor.figures.registry), media_type=CONTENT_TYPE_LATEST)
