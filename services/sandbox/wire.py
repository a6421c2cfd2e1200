"""Messages between an actor and its children: JSON behind a four-byte length. Nothing is ever unpickled."""

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("!I")
MAX_MESSAGE = 64 * 1024 * 1024


def pack(message: dict[str, Any]) -> bytes:
    """One message as bytes."""
    body = json.dumps(message).encode()
    return HEADER.pack(len(body)) + body


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message of a blocking socket; None at its end."""
    header = _exactly(connection, HEADER.size)
    if header is None:
        return None
    body = _exactly(connection, HEADER.unpack(header)[0])
    return None if body is None else json.loads(body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    chunks = []
    while size:
        chunk = connection.recv(min(size, 1 << 20))
        if not chunk:
            return None
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
