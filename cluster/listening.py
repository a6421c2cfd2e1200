"""Ports: whether one is free, asked before anything is started on it."""

import random
import socket

from services.contracts.errors import BadInput

_UNASKED = range(20_000, 32_768)
"""Ports that Linux gives to nobody who asks for just any, and Ray to no worker: what is free now will be in a while."""
TRIES = 100


def check_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Serve itself shares a taken port without a word, so we ask. Raises BadInput."""
    refusal = ""
    for wanted in [port] if port else random.SystemRandom().sample(_UNASKED, TRIES):
        try:
            with socket.create_server((host, wanted)):
                return wanted
        except OSError as error:
            refusal = error.strerror or str(error)
    raise BadInput(f"cannot listen on {host}:{port}: {refusal}")
