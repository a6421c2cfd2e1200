"""Starts a bare interpreter for one measurement and waits for its end: empty environment, session of its own.

Invariant: after `launch` nothing of that session runs any more. A signal from outside is a TimingFault.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.grader.runtime.cores import Core
from services.grader.runtime.faults import TimingFault

WORKER = "services.grader.runtime.worker"
_ROOT = Path(__file__).resolve().parents[3]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main(int(sys.argv[2]))"


def launch(
    order: Mapping[str, object], core: Core, folder: Path, give_up_s: float, module: str = WORKER
) -> dict[str, Any]:
    """Run the module's main in a new process, with the order as its stdin; its messages in one. Raises TimingFault."""
    messages, given = os.memfd_create("assay-messages"), os.memfd_create("assay-order")
    with os.fdopen(messages, "rb") as said, os.fdopen(given, "wb") as asked:
        asked.write(json.dumps(order).encode())
        asked.flush()
        os.lseek(given, 0, os.SEEK_SET)
        command = [sys.executable, "-I", "-c", _START.format(module=module), str(_ROOT), str(messages)]
        try:
            process = subprocess.Popen(
                command,
                env={},
                cwd=folder,
                stdin=given,
                stdout=subprocess.DEVNULL,
                pass_fds=(messages, core.fileno()),
                start_new_session=True,
            )
        except OSError as error:
            raise TimingFault(f"the measuring process cannot be started: {error}") from error
        _await(process, give_up_s)
        said.seek(0)
        return {key: value for line in said for key, value in json.loads(line).items()}


def _await(process: "subprocess.Popen[bytes]", give_up_s: float) -> None:
    """The end of the warden. It is killed, and the run lost, if a signal stops it or its time is long over."""
    timer = threading.Timer(give_up_s, process.kill)
    timer.start()
    try:
        seen = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOWAIT)
    finally:
        timer.cancel()
        os.killpg(process.pid, signal.SIGKILL)  # not yet reaped, so the number is still its own
        process.wait()
    if seen is not None and seen.si_code in (os.CLD_STOPPED, os.CLD_CONTINUED):
        raise TimingFault("the measuring process was paused")
    if seen is not None and seen.si_code != os.CLD_EXITED:
        raise TimingFault(f"the measuring process was ended by signal {seen.si_status}")
    if process.returncode > 0:
        raise RuntimeError(f"the measuring process ended with status {process.returncode}; its stderr says why")
