"""Another process as the kernel shows it under /proc: nothing here asks the process itself, so it cannot lie."""

import os
from collections.abc import Iterator
from pathlib import Path

from services.contracts.record import Record

Limit = int | None
"""A resource limit in the kernel's unit; None is unlimited."""


class OpenFile(Record):
    """An open descriptor: what it leads to, and whether it was opened for writing."""

    number: int
    target: str
    writable: bool


class ProcessView(Record):
    """One process at one moment. Ids are as our own user namespace sees them. Sizes in bytes."""

    pid: int
    uids: frozenset[int]
    gids: frozenset[int]
    groups: tuple[int, ...]
    capabilities: int
    no_new_privs: bool
    mapped_bytes: int
    limits: dict[str, tuple[Limit, Limit]]
    environment: tuple[str, ...]
    files: tuple[OpenFile, ...]
    network: str
    interfaces: tuple[str, ...]

    def hard(self, name: str) -> Limit:
        """The hard limit of that name in /proc/PID/limits, which the process cannot raise."""
        return self.limits[name][1]

    def soft(self, name: str) -> Limit:
        """The soft limit of that name, at which the kernel acts."""
        return self.limits[name][0]


def view(pid: int) -> ProcessView:
    """The process as it is now. Raises OSError if it is gone or may not be looked at."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return ProcessView(
        pid=pid,
        uids=frozenset(map(int, status["Uid"].split())),
        gids=frozenset(map(int, status["Gid"].split())),
        groups=tuple(map(int, status["Groups"].split())),
        capabilities=sum(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")),
        no_new_privs=status["NoNewPrivs"].strip() == "1",
        mapped_bytes=int(status["VmSize"].split()[0]) * 1024,
        limits=_limits(folder / "limits"),
        environment=tuple(name for name in (folder / "environ").read_text(errors="replace").split("\0") if name),
        files=tuple(sorted(_files(folder), key=lambda file: file.number)),
        network=os.readlink(folder / "ns" / "net"),
        interfaces=tuple(line.split(":")[0].strip() for line in (folder / "net" / "dev").read_text().splitlines()[2:]),
    )


def our_network() -> str:
    """The network namespace of this process."""
    return os.readlink("/proc/self/ns/net")


def holders(path: Path, ancestor: int) -> list[int]:
    """The descendants of a process that have the file open."""
    return [pid for pid in descendants(ancestor) if any(file.target == str(path) for file in _open_files(pid))]


def descendants(pid: int) -> Iterator[int]:
    """The processes under that one, parents first."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from descendants(child)


def _open_files(pid: int) -> tuple[OpenFile, ...]:
    try:
        return tuple(_files(Path(f"/proc/{pid}")))
    except OSError:  # it ended meanwhile, or is none of ours
        return ()


def _files(folder: Path) -> Iterator[OpenFile]:
    for link in (folder / "fd").iterdir():
        flags = (folder / "fdinfo" / link.name).read_text().split("flags:")[1].split()[0]
        writable = int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
        yield OpenFile(number=int(link.name), target=os.readlink(link), writable=writable)


def _limits(path: Path) -> dict[str, tuple[Limit, Limit]]:
    """Soft and hard limit by name; the kernel writes three columns that start at characters 0, 26 and 47."""
    lines = path.read_text().splitlines()[1:]
    return {line[:26].strip(): (_limit(line[26:47]), _limit(line[47:68])) for line in lines}


def _limit(text: str) -> Limit:
    return None if text.strip() == "unlimited" else int(text)
