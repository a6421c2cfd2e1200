"""The parent of one measured process: starts it, ends it when its time is over, and accounts for all its descendants.

Invariant: when `supervise` returns, nothing that the process started is left, and whatever it used is counted. A signal
from outside that stops or ends the process is told apart from its own end. Standard library only.
"""

import ctypes
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, NoReturn

from services.sandbox.rights import die_with_parent

End = Literal["exited", "deadline", "killed", "paused", "crashed"]
_PR_SET_CHILD_SUBREAPER = 36
_OWN_FAULT = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGXFSZ)


@dataclass(frozen=True)
class Watched:
    """How a measured process ended and what its tree used."""

    end: End
    status: int
    """Exit status, or the number of the signal."""
    self_s: float
    """CPU seconds of the process itself, over its whole life."""
    tree_s: float
    """CPU seconds of the process and of every descendant."""
    descendants: int
    """Processes that it started or left behind, as far as they were still there or had been orphaned."""

    def as_message(self) -> dict[str, object]:
        """As JSON can carry it."""
        return asdict(self)


def supervise(body: Callable[[], None], deadline_s: float) -> Watched:
    """Run `body` in a child process.

    The kernel does not count a child whose living parent ignores SIGCHLD; `confine` lets a process have no child.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        _run(body)
    alarm = _Alarm(pid, deadline_s)
    paused, orphans = False, 0
    while True:
        seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOWAIT)
        if seen is None:
            continue
        ended = seen.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED)
        if seen.si_pid == pid and ended:
            break
        os.waitid(os.P_PID, seen.si_pid, os.WEXITED | os.WSTOPPED | os.WCONTINUED)
        orphans += ended
        if seen.si_pid == pid:
            paused = True
            os.kill(pid, signal.SIGKILL)
    alarm.stop()
    self_s = time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process that is not yet reaped
    status = os.waitpid(pid, 0)[1]
    descendants = orphans + _end_descendants()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    end, code = _end_of(status, alarm.rang, paused)
    return Watched(end, code, self_s, usage.ru_utime + usage.ru_stime, descendants)


class _Alarm:
    """Kills the process when its time is over."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.rang = False
        self._pid = pid
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _ring(self, number: int, frame: object) -> None:
        self.rang = True
        os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        """No more alarm; the process may be gone."""
        signal.setitimer(signal.ITIMER_REAL, 0)


def _run(body: Callable[[], None]) -> NoReturn:
    status = 70
    try:
        die_with_parent()
        body()
        status = 0
    except Exception:  # the process ends here: our parent must learn that it was our bug
        traceback.print_exc()
        raise
    finally:
        os._exit(status)


def _end_of(status: int, rang: bool, paused: bool) -> tuple[End, int]:
    if paused:
        return "paused", signal.SIGSTOP
    if not os.WIFSIGNALED(status):
        return "exited", os.waitstatus_to_exitcode(status)
    number = os.WTERMSIG(status)
    if rang and number == signal.SIGKILL:
        return "deadline", number
    return ("crashed" if number in _OWN_FAULT else "killed"), number


def _end_descendants() -> int:
    """Kill and reap what is left; orphans come to us because we are the subreaper. How many there were."""
    ended = 0
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
            for pid in children.read().split():
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return ended
        ended += 1
