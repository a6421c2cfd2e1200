"""A Ray cluster as an operator starts it, by `ray start --head`: own ports, own folder, a secret token, 127.0.0.1."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

PATIENCE_S = 90.0


@dataclass(frozen=True)
class Head:
    """A cluster's head: `environment` is that of a command which is to join it, or to submit a job to it."""

    folder: Path
    address: str
    dashboard: str
    environment: Mapping[str, str]


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


@contextmanager
def head(python: str = sys.executable, **more: str) -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    gcs, dashboard = free_ports(2)
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_metrics_report_interval_ms": "1000",
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }
    environment.pop("RAY_ADDRESS", None)
    command = [python, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={gcs}", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={dashboard}", f"--temp-dir={folder}", "--num-cpus=2"]
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address, url = f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
    try:
        _await_answer(process, url, token, folder)
        yield Head(folder, address, url, {**environment, "RAY_ADDRESS": address})
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
