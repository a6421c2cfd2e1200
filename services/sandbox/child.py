"""The life of a sandbox child: open one database, give up every right, then answer statements until the socket ends."""

import math
import resource
import socket
import threading
import time
from typing import Any

import duckdb

from services.sandbox.engine import Engine, rejection_message
from services.sandbox.guard import Rejection
from services.sandbox.rights import become_nobody, die_with_parent, gain_nothing, limit, limit_address_space
from services.sandbox.several import SeveralEngine
from services.sandbox.wire import pack, receive

AGAIN_S = 0.1
SPARE_CPU_S = 2


class Watchdog(threading.Thread):
    """Interrupts the engine when the running statement's time is over.

    It sleeps until the deadline that it knows and looks again then, so that a short statement does not wake it.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._asleep = False

    def arm(self, seconds: float) -> None:
        """Start the clock of one statement."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            if self._asleep:
                self._changed.notify()

    def disarm(self) -> None:
        """Stop the clock."""
        with self._changed:
            self._deadline = None

    def run(self) -> None:
        """Wait for a clock to run out; never ends."""
        with self._changed:
            while True:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    self._engine.interrupt()
                    left = AGAIN_S  # until the statement has noticed
                self._asleep = left is None
                self._changed.wait(left)


def serve(
    connection: socket.socket,
    parser: duckdb.DuckDBPyConnection,
    blank: duckdb.DuckDBPyConnection,
    order: dict[str, Any],
) -> None:
    """Answer statements. `order` holds database (a path or None) or variants (paths), and SandboxLimits."""
    die_with_parent()
    gain_nothing()
    try:
        engine = _engine(parser, blank, order)
    except (duckdb.Error, OSError) as error:
        connection.sendall(pack({"ready": False, "message": str(error)[:500]}))
        return
    _give_up_rights(order["headroom_mb"])
    watchdog = Watchdog(engine)
    watchdog.start()
    limit(resource.RLIMIT_NPROC, 0)
    connection.sendall(pack({"ready": True}))
    while (request := receive(connection)) is not None:
        connection.sendall(pack(_reply(engine, watchdog, request, order)))


def _engine(parser: duckdb.DuckDBPyConnection, blank: duckdb.DuckDBPyConnection, order: dict[str, Any]) -> Engine:
    if order.get("variants"):
        return SeveralEngine(parser, blank, order["variants"], order["memory_mb"])
    return Engine(parser, blank, order["database"], order["memory_mb"], order["threads"])


def _reply(engine: Engine, watchdog: Watchdog, request: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    try:
        return _answer(engine, watchdog, request, order)
    except MemoryError:
        return {"kind": "limit", "reason": "memory", "message": "the statement ran out of memory"}


def _answer(engine: Engine, watchdog: Watchdog, request: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    if request["op"] == "inspect":
        found = engine.guard.inspect(request["sql"])
        return rejection_message(found) if isinstance(found, Rejection) else {"kind": "facts", "facts": found}
    _allow_cpu(request["timeout_s"] * order["threads"])
    watchdog.arm(request["timeout_s"])
    try:
        if isinstance(engine, SeveralEngine):
            return {"kind": "replays", "outcomes": engine.replay(order, request)}
        if request["op"] == "profile":
            return engine.profile(request["sql"])
        return engine.run(request["sql"], order["max_rows"], order["max_bytes"])
    finally:
        watchdog.disarm()


def _allow_cpu(seconds: float) -> None:
    """So much more CPU time for this process, and a little to come to an end in; beyond it the kernel ends it."""
    soft = math.ceil(time.process_time() + seconds) + SPARE_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _give_up_rights(headroom_mb: int) -> None:
    """No bigger memory, no file written, no new process; and no root, if there was any."""
    limit_address_space(headroom_mb)
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_CORE, 0)
    become_nobody()
