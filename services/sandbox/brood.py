"""The children of a zygote: which are alive, and how those ended that are no more. Standard library only."""

import os
import signal
import time

ENDING_S = 0.5
KEPT = 256


class Brood:
    """Knows children by process id, and signals no other process."""

    def __init__(self) -> None:
        self._alive: set[int] = set()
        self._ended: dict[int, int] = {}

    def add(self, pid: int) -> None:
        """Take in a new child."""
        self._ended.pop(pid, None)
        self._alive.add(pid)

    def reap(self) -> None:
        """Note the children that have ended, so that none stays a zombie."""
        for pid in list(self._alive):
            self._look(pid)

    def kill(self, pid: int) -> None:
        """End a child."""
        if pid in self._alive:
            os.kill(pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """End all children."""
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)

    def ended_by(self, pid: int) -> int:
        """The signal that ended a child which has hung up; 0 if it went by itself, or had to be ended now."""
        last = time.monotonic() + ENDING_S
        while pid in self._alive and time.monotonic() < last:
            self._look(pid)
            time.sleep(0.001)
        self.kill(pid)
        return self._ended.pop(pid, 0)

    def _look(self, pid: int) -> None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            self._alive.discard(pid)
            self._ended[pid] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            while len(self._ended) > KEPT:
                del self._ended[next(iter(self._ended))]
