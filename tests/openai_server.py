"""A policy host on a port of its own without Ray, and an upstream that misbehaves as it is told."""

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.listening import check_port
from services.contracts.policy import AnyPolicy
from services.policy.admission import Admission
from services.policy.deployment import OPEN, PolicyHost
from services.policy.proxy_errors import OpenAIErrors

HOST = "127.0.0.1"
QUIET: Any = {"log_level": "critical", "lifespan": "off", "timeout_graceful_shutdown": 1}
Answerer = Callable[[Request], Awaitable[Response]]


@contextmanager
def answering(answer: Answerer, wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> Iterator[str]:
    """Base URL of a server on a thread that answers every request so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = await answer(Request(scope, receive))
            await response(scope, receive, send)

    port = check_port(HOST, 0)
    server = uvicorn.Server(uvicorn.Config(wrap(app), HOST, port, **QUIET))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.01)
        yield f"http://{HOST}:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def hosting(makers: Mapping[str, Callable[[], AnyPolicy]], admission: Admission = OPEN) -> Iterator[str]:
    """Base URL of the policies, with what Serve's proxy makes of errors."""
    with answering(PolicyHost(makers, admission), OpenAIErrors) as url:
        yield url
