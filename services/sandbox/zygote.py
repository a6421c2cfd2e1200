"""The parent of all sandbox children of one actor: a bare process with DuckDB imported, which forks on demand.

It holds two connections without a database: each child inherits its parser from the one, and opens its database in its
copy of the other, which is much quicker than starting an engine. It has no network of its own where the kernel allows
that. It ends, and its children with it, when the actor's end of the control socket closes.
"""

import os
import select
import socket
import sys
import traceback
from typing import Any

import duckdb

from services.sandbox.brood import Brood
from services.sandbox.child import serve
from services.sandbox.engine import connect, lock, schema_of
from services.sandbox.guard import parser_on
from services.sandbox.wire import pack, receive

REAP_SECONDS = 0.2
PARSER_MEMORY_MB = 512

SOCKET = 3

Connections = tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]


def main(control_fd: int) -> None:
    """Serve spawn and kill orders until the control socket ends."""
    control = socket.socket(fileno=control_fd)
    connections = _connections()
    brood = Brood()
    while True:
        readable, _, _ = select.select([control], [], [], REAP_SECONDS)
        brood.reap()
        if readable and not _obey(control, connections, brood):
            break
    brood.kill_all()


def _connections() -> Connections:
    """The parser, and the blank instance with the catalogue loaded that an engine otherwise loads when it starts."""
    parser, blank = parser_on(connect(PARSER_MEMORY_MB)), connect(PARSER_MEMORY_MB)
    lock(parser)
    schema_of(blank)
    return parser, blank


def _obey(control: socket.socket, connections: Connections, brood: Brood) -> bool:
    """Carry out one order; False at the end of the control socket."""
    mark, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not mark:
        return False
    order = receive(control)
    if order is None:
        return False
    match order["op"]:
        case "kill":
            brood.kill(order["pid"])
        case "ended":
            control.sendall(pack({"signal": brood.ended_by(order["pid"])}))
        case _:
            pid = _fork(control, connections, descriptors[0], order)
            os.close(descriptors[0])
            brood.add(pid)
            control.sendall(pack({"pid": pid}))
    return True


def _fork(control: socket.socket, connections: Connections, descriptor: int, order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        control.close()
        if descriptor != SOCKET:
            os.dup2(descriptor, SOCKET)
        os.closerange(SOCKET + 1, 1024)
        _mute()
        connection = socket.socket(fileno=SOCKET)
        try:
            serve(connection, *connections, order)
        except OSError:
            pass  # the actor went away
        except Exception:  # the child ends here: the actor must learn that it was our bug, not the agent's doing
            connection.sendall(pack({"kind": "bug", "trace": traceback.format_exc()}))
            raise
        status = 0
    finally:
        os._exit(status)


def _mute() -> None:
    """Leave the child nothing of the actor's error stream."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


if __name__ == "__main__":
    main(int(sys.argv[1]))
