"""Ray nodes with an address and a cache of their own: each in a network namespace, all on a bridge of this machine."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray

from tests.cables import cable_of, cables, space_of

PATIENCE_S = 120.0
OWN = 'while [ "$1" != -- ]; do mount -t tmpfs tmpfs "$1" && shift || exit 1; done; shift; exec "$@"'
"""Plays a command where some folders are empty, and its own."""
SOON = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
"""Ray takes a node for dead after a few seconds."""


@dataclass
class Node:
    """A node that has joined: `ray start` in a namespace, and all that it started."""

    name: str
    cable: str
    cache: Path
    process: subprocess.Popen[bytes]

    def processes(self) -> list[psutil.Process]:
        """All of it, the youngest first."""
        with suppress(psutil.NoSuchProcess):
            whole = psutil.Process(self.process.pid)
            return [*reversed(whole.children(recursive=True)), whole]
        return []

    def signal(self, number: int) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def lose(self) -> None:
        """Power off; a disk of its own goes with the last process that sees it."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def unplug(self) -> None:
        """Nothing reaches it any more, nor does it reach anything; it goes on by itself."""
        cables("down", self.cable)

    def plug_in(self) -> None:
        cables("up", self.cable)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """It gets a tenth of the time."""
        over = threading.Event()

        def stutter() -> None:
            while not over.is_set():
                self.signal(signal.SIGSTOP)
                over.wait(0.45)
                self.signal(signal.SIGCONT)
                over.wait(0.05)

        thread = threading.Thread(target=stutter)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class Network:
    """A bridge with this machine as its head: nodes join, and leave at the end."""

    def __init__(self, folder: Path, nodes: int, opened: ExitStack) -> None:
        self._folder = folder
        self._opened = opened
        self._id = secrets.token_hex(3)
        self._prefix = f"10.213.{secrets.randbelow(250)}"
        self.head = f"{self._prefix}.1"
        self.nodes: list[Node] = []
        opened.callback(cables, "remove", self._id, str(nodes))
        cables("plug", self._id, self._prefix, str(nodes))

    def join(self, address: str, own: Sequence[Path] = (), cpus: int = 1) -> Node:
        """One more node of the cluster at `address`; it has disks of its own in place of some folders."""
        number = len(self.nodes) + 2
        name, cable = space_of(self._id, number), cable_of(self._id, number)
        cache = self._folder / name
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--block"]
        start += [f"--num-cpus={cpus}", f"--node-ip-address={self._prefix}.{number}", "--disable-usage-stats"]
        isolated = ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN, "sh", *map(str, own), "--"]
        process = subprocess.Popen(
            ["nsenter", f"--net=/var/run/netns/{name}", *isolated, *start],
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            stdout=subprocess.DEVNULL,
        )
        node = Node(name, cable, cache, process)
        self._opened.callback(node.lose)
        self.nodes.append(node)
        return node


@contextmanager
def network(nodes: int) -> Iterator[Network]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    folder.chmod(0o755)  # the sandbox's children have other rights
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Network(folder, nodes, opened)


@contextmanager
def cluster(net: Network, owned: Sequence[Sequence[Path]]) -> Iterator[None]:
    """This process on a cluster whose CPUs are all on nodes: one for each list of folders that it has of its own."""
    before = {name: os.environ.get(name) for name in SOON}
    os.environ.update(SOON)
    own = tempfile.mkdtemp(prefix="ray-")  # or `ray start` names this cluster to every ray.init of the machine
    try:
        ray.init(address="local", num_cpus=0, include_dashboard=False, _node_ip_address=net.head, _temp_dir=own)
        for number, own_folders in enumerate(owned):
            net.join(ray.get_runtime_context().gcs_address, own_folders)
            await_nodes(2 + number)  # one after the other, or two choose the same sockets
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(own, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def await_nodes(count: int) -> None:
    """Until so many nodes are alive."""
    deadline = time.monotonic() + PATIENCE_S
    while alive() != count:
        assert time.monotonic() < deadline, f"{alive()} nodes are alive, not {count}"
        threading.Event().wait(0.05)


def alive() -> int:
    return sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
