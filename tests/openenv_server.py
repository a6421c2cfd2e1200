"""A running OpenEnv server for tests, in a thread of the test's process, and a bare WebSocket client to talk to it."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import uvicorn
from starlette.applications import Starlette
from websockets.sync.client import ClientConnection, connect

from cluster.etl.serving import EtlServing
from cluster.openenv import SERVER, OpenEnvConfig, openenv_app
from services.env_actor.openenv.floor import Floor
from services.env_actor.taskset import TaskSet


@contextlib.contextmanager
def serving(
    builtin: TaskSet, analyst: TaskSet, options: dict[str, Any] | None = None, **config: Any
) -> Iterator["Served"]:
    """A server of all environments; `options` are uvicorn's."""
    rest = {"etl": EtlServing(scale="tiny"), **config}
    settings = OpenEnvConfig(tasks=str(builtin.folder), analyst_tasks=str(analyst.folder), **rest)
    server = Served(openenv_app(settings), options or {})
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Served:
    """A server on a free port of 127.0.0.1."""

    def __init__(self, app: Starlette, options: dict[str, Any]) -> None:
        self._app = app
        config = uvicorn.Config(app, port=0, log_level="warning", **{**SERVER, **options})
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    @property
    def floor(self) -> Floor:
        floor: Floor = self._app.state.floor
        return floor

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def until(self, what: Any) -> None:
        """Return once `what()` is true; fail if it is not in half a minute."""
        end = time.monotonic() + 30
        while not what():
            assert time.monotonic() < end, "it did not come true in 30 s"
            threading.Event().wait(0.005)

    def start(self) -> None:
        self._thread.start()
        self.until(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    @contextlib.contextmanager
    def socket(self, path: str = "/explore/ws") -> Iterator["Bare"]:
        with connect(self.url.replace("http", "ws", 1) + path, proxy=None) as connection:
            yield Bare(connection)


class Bare:
    """A client that knows nothing but JSON over a WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def ask(self, kind: str, /, **data: Any) -> dict[str, Any]:
        return self.say(json.dumps({"type": kind, "data": data} if data or kind != "state" else {"type": kind}))

    def say(self, raw: str | bytes) -> dict[str, Any]:
        self.connection.send(raw)
        return self.hear()

    def hear(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.connection.recv(timeout=30))
        return answer

    def step(self, kind: str, argument: str) -> dict[str, Any]:
        return self.ask("step", action_type=kind, argument=argument)


def words(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return []
    return command


def family(process: psutil.Process) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process, *children]


def desks() -> list[psutil.Process]:
    """The processes of desks, and all that they started."""
    keepers = [each for each in psutil.Process().children() if any("etl.desk" in word for word in words(each))]
    return [each for keeper in keepers for each in family(keeper)]
