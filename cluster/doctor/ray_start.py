"""Whether Ray is installed, and whether a cluster can be had and answers a call.

The call is made from a process of its own: Ray waits without end for a cluster that is gone, and the doctor must not.
"""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from cluster.doctor.checks import Check, judged
from cluster.session import prepare_environment, ray_session

DEADLINE_S = 90.0
_INSTALL = ".venv/bin/uv sync --frozen --inexact"
_START = "read the message; often /tmp is full or not writable, or RAY_ADDRESS names a cluster that is gone"


def ray_checks(deadline_s: float = DEADLINE_S) -> tuple[Check, ...]:
    """A row for the package, and one for a call to a worker, which must be answered in time."""
    try:
        found = version("ray")
    except PackageNotFoundError:
        return (judged("ray", "Ray is installed", False, "not found", _INSTALL),)
    return (judged("ray", "Ray is installed", True, f"Ray {found}", ""), _call(deadline_s))


def _call(deadline_s: float) -> Check:
    address = os.environ.get("RAY_ADDRESS")
    where = f"the cluster at {address}" if address else "a local cluster"
    name = "Ray answers" if address else "Ray starts and answers"
    command = [sys.executable, "-m", "cluster.doctor.ray_start"]
    started = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    ) as caller:
        try:
            said, complaint = caller.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            return _failed(name, f"no answer from {where} in {deadline_s:.0f} s")
        finally:
            _end(caller)
    if caller.returncode != 0:
        return _failed(name, _last_line(complaint) or f"it ended with code {caller.returncode}")
    seen = f"process {_last_line(said)} of {where}, {time.monotonic() - started:.1f} s"
    return judged("ray", name, True, seen, "")


def _failed(name: str, seen: str) -> Check:
    return judged("ray", name, False, seen, _START, otherwise="failed")


def _end(caller: subprocess.Popen[str]) -> None:
    """End the caller, and what it has started, if it has not ended itself."""
    if caller.poll() is None:
        os.killpg(caller.pid, signal.SIGKILL)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def main() -> None:
    """Print the process id of a Ray worker."""
    prepare_environment()
    import ray

    with ray_session():
        print(ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote()))  # noqa: T201


if __name__ == "__main__":
    main()
