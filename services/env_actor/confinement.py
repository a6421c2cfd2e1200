"""Keeps an env actor and all that it starts within two cores and its memory: Ray only books them, the kernel enforces.

What the sandbox children may use is in services.sandbox.limits; together they make 2 vCPU and 8 GB.
"""

import os
import random
import resource
import socket
from collections.abc import Sequence
from pathlib import Path

from services.sandbox.claims import claim
from services.sandbox.control_group import group_cores
from services.sandbox.limits import OWN_MB

CORES = 2
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Of an env actor's process. Arrow's own allocator would reserve a gigabyte at once: two thirds of an actor's own."""


class Confinement:
    """Confines this process for as long as it lives. Children that are started later inherit the cores.

    It begins with one core of its own: a process and its children that do not move between cores lose less. Where none
    is left, it runs on two by chance. A control group that gives two at most, as a pod's limit, is held to them by the
    kernel, and is left alone: which cores the pods beside it use cannot be seen from inside.
    """

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._in_turn = random.sample(cores, len(cores))
        self._claims: dict[int, socket.socket] = {}
        if group_cores() > CORES:
            self._claims = claim_cores(self._in_turn, 1)
            _stay_on(list(self._claims) or self._in_turn[:CORES])
        _limit_data(OWN_MB)

    def widen(self) -> None:
        """Take a second core if nobody has claimed one by now; call it when all that start together have theirs."""
        if self._claims:
            self._claims |= claim_cores(self._in_turn, CORES - len(self._claims))
            _stay_on(list(self._claims))


def claim_cores(cores: Sequence[int], wanted: int) -> dict[int, socket.socket]:
    """As many cores as wanted that no other env actor of the machine has claimed; none if there are not so many."""
    claims: dict[int, socket.socket] = {}
    for core in cores:
        held = claim(f"env-actor-core-{core}")
        if held is not None:
            claims[core] = held
        if len(claims) == wanted:
            return claims
    for held in claims.values():
        held.close()
    return {}


def _stay_on(cores: Sequence[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        _pin(int(thread), cores)


def _pin(thread: int, cores: Sequence[int]) -> None:
    try:
        os.sched_setaffinity(thread, cores)
    except ProcessLookupError:
        return  # it has ended meanwhile


def _limit_data(more_mb: int) -> None:
    """Let this process have so many MB more of data than now; beyond it an allocation fails.

    The address space cannot be limited: Ray maps several GB of it.
    """
    now = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    limit = int(now.split()[1]) * 1024 + more_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
