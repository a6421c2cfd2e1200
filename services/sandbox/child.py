"""The life of a sandbox child: open one database, give up every right, then answer statements until the socket ends."""

import ctypes
import os
import resource
import signal
import socket
import threading
from typing import Any

import duckdb

from services.sandbox.engine import Engine, rejection_message
from services.sandbox.guard import Rejection
from services.sandbox.wire import pack, receive

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_NOBODY = 65534


class Watchdog(threading.Thread):
    """Interrupts the engine when the running statement's time is over."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self._changed = threading.Condition()
        self._seconds: float | None = None
        self._turn = 0

    def arm(self, seconds: float | None) -> None:
        """Start the clock of one statement, or stop it with None."""
        with self._changed:
            self._seconds = seconds
            self._turn += 1
            self._changed.notify()

    def run(self) -> None:
        """Wait for a clock to run out; never ends."""
        with self._changed:
            while True:
                turn = self._turn
                signalled = self._changed.wait(self._seconds)
                if not signalled and turn == self._turn and self._seconds is not None:
                    self._engine.interrupt()
                    self._seconds = 0.1  # until the statement has noticed


def serve(connection: socket.socket, trusted: duckdb.DuckDBPyConnection, order: dict[str, Any]) -> None:
    """Answer statements. `order` holds database (a path or None) and SandboxLimits."""
    _die_with_parent()
    try:
        engine = Engine(trusted, order["database"], order["memory_mb"], order["threads"])
    except (duckdb.Error, OSError) as error:
        connection.sendall(pack({"ready": False, "message": str(error)[:500]}))
        return
    _give_up_rights(order["headroom_mb"])
    watchdog = Watchdog(engine)
    watchdog.start()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    connection.sendall(pack({"ready": True}))
    while (request := receive(connection)) is not None:
        connection.sendall(pack(_reply(engine, watchdog, request, order)))


def _reply(engine: Engine, watchdog: Watchdog, request: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    try:
        return _answer(engine, watchdog, request, order)
    except MemoryError:
        return {"kind": "limit", "reason": "memory", "message": "the statement ran out of memory"}


def _answer(engine: Engine, watchdog: Watchdog, request: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    if request["op"] == "inspect":
        found = engine.guard.inspect(request["sql"])
        return rejection_message(found) if isinstance(found, Rejection) else {"kind": "facts", "facts": found}
    watchdog.arm(request["timeout_s"])
    try:
        return engine.run(request["sql"], order["max_rows"], order["max_bytes"])
    finally:
        watchdog.arm(None)


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _give_up_rights(headroom_mb: int) -> None:
    """No bigger memory, no file written, no new process; and no root, if there was any."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    limit = mapped + headroom_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _die_with_parent()  # a change of user clears it
