"""What the kernel lets this process's control group have; a pod's limits are the group's."""

import math
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def group_cores() -> float:
    """How many cores' time the group may use; infinite if it has no limit."""
    quota, _, period = _read("cpu.max").partition(" ")
    return math.inf if quota in ("", "max") else float(quota) / float(period)


def group_bytes() -> float:
    """What is left of the group's memory, in bytes; infinite if it has no limit."""
    limit, used = _read("memory.max"), _read("memory.current")
    return math.inf if limit in ("", "max") else float(limit) - float(used)


def _read(name: str) -> str:
    """A file of the group; empty without one (the top group has no limits, nor has version 1)."""
    unified = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    path = _CGROUP.joinpath(unified[0].lstrip("/") if unified else "", name)
    return path.read_text().strip() if path.exists() else ""
