"""What a measured process uses is counted with all its descendants, and a signal from outside is a fault.

The bodies below are what a bare interpreter runs in place of the engine: this module is its `module` as well.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.grader.runtime.confine import confine, landlock_version, writable
from services.grader.runtime.cores import claim_core
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.launch import launch
from services.grader.runtime.warden import supervise
from services.sandbox.rights import die_with_parent

BURN_S = 0.2
ROOT = Path(__file__).resolve().parents[1]


def burn() -> None:
    until = time.process_time() + BURN_S
    while time.process_time() < until:
        pass


def idle() -> None:
    time.sleep(BURN_S)


def burn_in_a_child() -> None:
    if not os.fork():
        burn()
        os._exit(0)
    os.wait()


def burn_in_a_daemon() -> None:
    """It is told to go on for ever; we wait until it has burnt enough."""
    reader, writer = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            burn()
            os.write(writer, b"!")
            while True:
                pass
        os._exit(0)
    os.read(reader, 1)


def burn_unseen() -> None:
    """A child that is reaped by nobody does not count as its parent's."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    burn_in_a_daemon()


def confined_to(folder: Path) -> None:
    secret = folder.parent / f"{folder.name}.secret"
    confine(str(folder), 512, 10)
    Path(folder, "ours").write_text("written")
    refused = []
    for attempt in (os.fork, lambda: Path("/tmp/assay-elsewhere").write_text("x"), secret.read_bytes):
        try:
            attempt()
        except OSError as error:
            refused.append(type(error).__name__)
    if landlock_version() > 0:
        try:
            open_to_all_but_us = Path(f"{secret}.public").read_text()
            raise RuntimeError(open_to_all_but_us)
        except PermissionError:
            pass
    if writable(str(secret)) or refused != ["BlockingIOError", "PermissionError", "PermissionError"]:
        raise RuntimeError(str(refused))


BODIES: dict[str, Callable[[], None]] = {
    "burn": burn,
    "idle": idle,
    "burn_in_a_child": burn_in_a_child,
    "burn_in_a_daemon": burn_in_a_daemon,
    "burn_unseen": burn_unseen,
    "forever": lambda: time.sleep(600),
    "break": lambda: os.abort(),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "paused": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "warden_killed": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "warden_paused": lambda: os.kill(os.getppid(), signal.SIGSTOP),
}


def main(messages: int) -> None:
    """What the bare interpreter does."""
    die_with_parent()
    order = json.load(sys.stdin)
    os.sched_setaffinity(0, {order["core"]})
    body = BODIES.get(order["body"]) or (lambda: confined_to(Path(order["folder"])))
    watched = supervise(body, order["deadline_s"]).as_message()
    os.write(messages, json.dumps({**watched, "affinity": sorted(os.sched_getaffinity(0))}).encode() + b"\n")


def watch(body: str, deadline_s: float = 60.0) -> dict[str, Any]:
    with claim_core(30) as core, tempfile.TemporaryDirectory() as folder:
        order = {"body": body, "core": core.number, "deadline_s": deadline_s, "folder": folder}
        Path(f"{folder}.secret").write_text("secret")
        os.chmod(f"{folder}.secret", 0o600)
        Path(f"{folder}.secret.public").write_text("everybody may read it, but for who is confined")
        os.chown(folder, 65534, 65534)
        try:
            seen = launch(order, core, Path(folder), 60.0, module="tests.test_runtime_processes")
        finally:
            os.unlink(f"{folder}.secret")
            os.unlink(f"{folder}.secret.public")
        assert seen["affinity"] == [core.number]
        return seen


def test_a_process_that_spins_pays_and_one_that_sleeps_does_not() -> None:
    assert watch("burn")["self_s"] >= BURN_S
    assert watch("idle")["tree_s"] < BURN_S


def test_work_in_a_child_counts() -> None:
    seen = watch("burn_in_a_child")
    assert seen["tree_s"] >= BURN_S
    assert seen["self_s"] < BURN_S


def test_a_daemon_counts_is_ended_and_is_told_of() -> None:
    for body in ("burn_in_a_daemon", "burn_unseen"):
        seen = watch(body)
        assert seen["tree_s"] - seen["self_s"] >= BURN_S
        assert seen["descendants"] >= 1


def test_a_confined_process_starts_none_and_writes_nowhere_else() -> None:
    seen = watch("confined")
    assert (seen["end"], seen["status"]) == ("exited", 0)
    assert not Path("/tmp/assay-elsewhere").exists()


def test_a_deadline_kills() -> None:
    seen = watch("forever", deadline_s=0.2)
    assert seen["end"] == "deadline"


def test_a_process_that_is_killed_or_paused_is_not_one_that_ended() -> None:
    assert [watch(body)["end"] for body in ("killed", "paused", "break")] == ["killed", "paused", "crashed"]


def test_a_warden_that_is_killed_or_paused_is_a_fault() -> None:
    for body, reason in (("warden_killed", "ended by signal 9"), ("warden_paused", "paused")):
        with pytest.raises(TimingFault, match=reason):
            watch(body)


HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from services.grader.runtime.cores import claim_core
core = claim_core(10, [int(sys.argv[2])])
print("held", flush=True); sys.stdin.read()
"""


def held_elsewhere(number: int) -> Iterator["subprocess.Popen[bytes]"]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    yield holder
    holder.kill()
    holder.communicate()


def test_two_measurements_never_share_a_core_whichever_process_asks() -> None:
    with claim_core(30) as core:
        number = core.number
        with pytest.raises(TimingFault, match="no core"):
            claim_core(0, [number])
    for holder in held_elsewhere(number):
        with pytest.raises(TimingFault, match="no core"):
            claim_core(0, [number])
        holder.kill()
        with claim_core(30, [number]) as again:
            assert again.number == number
