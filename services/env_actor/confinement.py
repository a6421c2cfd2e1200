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
from services.sandbox.limits import OWN_MB

CORES = 2
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Of an env actor's process. Arrow's own allocator would reserve a gigabyte at once: two thirds of an actor's own."""


class Confinement:
    """Confines this process for as long as it lives. Children that are started later inherit the cores."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._claims = claim_cores(cores, CORES)
        self.cores = sorted(self._claims) or random.sample(cores, min(CORES, len(cores)))
        for thread in os.listdir("/proc/self/task"):
            _pin(int(thread), self.cores)
        _limit_data(OWN_MB)


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
