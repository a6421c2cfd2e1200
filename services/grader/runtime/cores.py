"""The cores of this machine, each of which serves one measurement at a time, whichever process asks.

Claims are those of services.sandbox.claims. Threads of one physical core count as one.
"""

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from services.grader.runtime.faults import TimingFault
from services.sandbox.claims import claim

POLL_S = 0.05
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class Core:
    """A core that is ours until it is closed."""

    def __init__(self, number: int, claim: socket.socket) -> None:
        self.number = number
        self._claim = claim

    def fileno(self) -> int:
        """The claim: a process that inherits it holds the core too."""
        return self._claim.fileno()

    def close(self) -> None:
        """Let go of the core."""
        self._claim.close()

    def __enter__(self) -> "Core":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def physical_cores() -> tuple[int, ...]:
    """One number for each physical core that this process may run on, ascending."""
    chosen: dict[str, int] = {}
    for number in sorted(os.sched_getaffinity(0)):
        chosen.setdefault(_siblings(number), number)
    return tuple(chosen.values())


def _siblings(number: int) -> str:
    try:
        return Path(_SIBLINGS.format(number)).read_text(encoding="ascii").strip()
    except OSError:
        return str(number)


def claim_core(wait_s: float, cores: Sequence[int] | None = None) -> Core:
    """A core that nobody else holds. Raises TimingFault if none is free in time."""
    numbers = physical_cores() if cores is None else tuple(cores)
    until = time.monotonic() + wait_s
    while True:
        for number in numbers:
            if (core := _try(number)) is not None:
                return core
        if time.monotonic() >= until:
            raise TimingFault(f"no core of {numbers} came free in {wait_s:g} s: give the node fewer timing slots")
        time.sleep(POLL_S)


def _try(number: int) -> Core | None:
    held = claim(f"timing-core-{_siblings(number)}")
    return None if held is None else Core(number, held)
