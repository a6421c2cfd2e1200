"""A Ray cluster as an operator starts it, by `ray start --head`: own ports, own folder, a secret token, 127.0.0.1."""

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from cluster.listening import check_port

PATIENCE_S = 240.0


@dataclass(frozen=True)
class Head:
    """A cluster's head: `environment` is that of a command which is to join it, or to submit a job to it."""

    folder: Path
    address: str
    dashboard: str
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """All of it at once, and what it started."""
        _end(self.process)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}


def machine_without_us(folder: Path) -> Path:
    """The Python of a virtual environment that has Ray and what Assay needs, and nothing of Assay."""
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "assay" not in entry.name.lower() and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def free_ports(count: int) -> list[int]:
    """That nobody has, nor is given before they are used: a cluster needs seconds until it listens."""
    found: set[int] = set()
    while len(found) < count:
        found.add(check_port("127.0.0.1", 0))
    return list(found)


@contextmanager
def head(python: Path = Path(sys.executable), **more: str) -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    gcs, dashboard, agent, client = free_ports(4)
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_metrics_report_interval_ms": "1000",
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }
    for ours in ("RAY_ADDRESS", "PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(ours, None)
    command = [str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={gcs}", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--ray-client-server-port={client}", f"--temp-dir={folder}", "--num-cpus=2"]
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address, url = f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
    try:
        _await_answer(process, url, token, folder)
        yield Head(folder, address, url, {**environment, "RAY_ADDRESS": address}, process)
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _await_answer(process: subprocess.Popen[bytes], url: str, token: str, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, (folder / "head.log").read_text()
        assert time.monotonic() < deadline, (folder / "head.log").read_text()
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"}, timeout=2).is_success:
                return
        threading.Event().wait(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        for started in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
            with suppress(psutil.NoSuchProcess):
                started.kill()
    process.wait()


def submit(cluster: Head, *words: str, folder: Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`ray job submit` of a command of ours, as a person types it in a checkout; again while the cluster says later."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", f"--address={cluster.dashboard}"]
    command += ["--working-dir=.", *options, "--", "python", "-m", "cluster.cli", *words]
    environment = cluster.environment | {"PYTHONPATH": str(folder)}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if "please try again later" not in done.stderr or time.monotonic() > deadline:
            return done
