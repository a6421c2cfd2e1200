"""Whether this machine has what Assay needs beside its own code: Python, cores, memory, disk and ports."""

import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cluster.doctor.checks import Check, judged
from cluster.doctor.containment import ACTOR_GB
from cluster.listening import check_port
from services.contracts.errors import BadInput
from services.sandbox.control_group import group_bytes, group_cores

LOCALHOST = "127.0.0.1"
SERVE_PORT = 8000
ACTOR_CORES = 2
DISK_GB = 2.0
SHARED_GB = 1.0
_GB = 2**30


def machine_checks(runs: Path = Path("runs")) -> tuple[Check, ...]:
    """A row for each need; `runs` is where run folders will be made."""
    return (
        _python(),
        _cores(),
        _memory(),
        _disk("disk for runs", runs),
        _disk("disk for temporary files", Path(tempfile.gettempdir())),
        _shared_memory(),
        _fsync(runs),
        _port(),
        port_check(SERVE_PORT),
    )


def _row(name: str, fine: bool, seen: str, advice: str, required: bool = True) -> Check:
    return judged("machine", name, fine, seen, advice, required)


def _failed(name: str, seen: str, advice: str, required: bool = True) -> Check:
    return judged("machine", name, False, seen, advice, required, otherwise="failed")


def _python() -> Check:
    fine = sys.version_info[:2] == (3, 11)
    return _row("Python 3.11", fine, platform.python_version(), "make builds .venv with python3.11")


def _cores() -> Check:
    cores = min(float(len(os.sched_getaffinity(0))), group_cores())
    advice = f"an actor's ceiling is {ACTOR_CORES} cores: ask for fewer in the config (actors.cpus), or for more here"
    return _row("cores", cores >= ACTOR_CORES, f"{cores:g}", advice, required=False)


def _memory() -> Check:
    available = min(_available_bytes(), group_bytes()) / _GB
    actors = int(available // ACTOR_GB)
    seen = f"{available:.1f} GB available: {actors} actor{'' if actors == 1 else 's'} of {ACTOR_GB} GB"
    advice = f"an actor's ceiling is {ACTOR_GB} GB: ask for less in the config (actors.memory_mb), or free some"
    return _row("memory", actors >= 1, seen, advice, required=False)


def _available_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _disk(name: str, folder: Path) -> Check:
    place = existing(folder)
    free = shutil.disk_usage(place).free / _GB
    advice = "free some, or name another place (assay rollout --out; TMPDIR for temporary files)"
    return _row(name, free >= DISK_GB, f"{free:.1f} GB free at {place}; {DISK_GB:g} GB wanted", advice)


def _shared_memory() -> Check:
    place = Path("/dev/shm")  # noqa: S108  # where Ray keeps its objects, not a file of ours
    name, advice = "shared memory", "docker run --shm-size=1g, or an emptyDir with medium: Memory; Ray is slow without"
    if not place.is_dir():
        return _row(name, False, f"no {place}", advice, required=False)
    free = shutil.disk_usage(place).free / _GB
    return _row(name, free >= SHARED_GB, f"{free:.1f} GB free at {place}", advice, required=False)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    absolute = folder.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.is_dir())


def _fsync(folder: Path) -> Check:
    place, name = existing(folder), "fsync"
    started = time.perf_counter()
    try:
        _write_through(place)
    except OSError as error:
        return _failed(name, f"at {place}: {error.strerror or error}", "choose a folder that can be written (--out)")
    return _row(name, True, f"{(time.perf_counter() - started) * 1000:.1f} ms at {place}", "")


def _write_through(place: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=place, prefix=".assay-doctor-") as file:
        file.write(b"assay" * 1000)
        file.flush()
        os.fsync(file.fileno())
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _port() -> Check:
    try:
        port = check_port(LOCALHOST, 0)
    except BadInput as error:
        return _failed("a local port", str(error), "bring the loopback interface up: ip link set lo up")
    return _row("a local port", True, f"{LOCALHOST}:{port} could be bound", "")


def port_check(port: int) -> Check:
    """Whether `assay serve` could listen on that port. Another one does as well, so it is not required."""
    name = f"port {port}"
    try:
        check_port(LOCALHOST, port)
    except BadInput as error:
        advice = "assay serve … --port with another one (0 takes a free one), or end what listens there"
        return _failed(name, str(error), advice, required=False)
    return _row(name, True, f"{LOCALHOST}:{port} is free", "", required=False)
