"""Ports: whether one is free, asked before anything is started on it."""

import socket

from services.contracts.errors import BadInput


def check_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Serve itself shares a taken port without a word, so we ask. Raises BadInput."""
    try:
        with socket.create_server((host, port)) as listening:
            free: int = listening.getsockname()[1]
            return free
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
