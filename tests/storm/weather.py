"""What happens to a run, by a seed: processes are killed or stopped, lines cut, the disk filled, the clock set.

Moves are due at counts of stored episodes, several at one count, so that troubles meet. It touches only what descends
from the run's driver, and what was made for the run.
"""

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.storm.clock import WallClock
from tests.storm.disk import SmallDisk
from tests.storm.line import Line
from tests.storm.processes import KINDS, descendants, is_of_kind

PAUSE_S = (0.1, 1.5)
JUMPS_S = (60, 3_600, 86_400, 2_592_000)
LAST = 0.8
"""The part of the episodes after which nothing more is begun."""


@dataclass(frozen=True)
class Places:
    """What a run depends on besides its processes."""

    lines: Mapping[str, Line]
    disk: SmallDisk
    clock: WallClock


class Storm:
    """`moves` says how often each thing is to happen, as `kill actor`, `cut bucket`, `fill disk`, `set clock`."""

    def __init__(self, seed: int, episodes: int, moves: Mapping[str, int], places: Places) -> None:
        self._rng = random.Random(seed)
        counts = sum(moves.values())
        moments = [self._rng.randrange(1, int(episodes * LAST)) for _ in range(max(1, counts * 2 // 3))]
        due = [move for move, times in sorted(moves.items()) for _ in range(times)]
        self._left = sorted((self._rng.choice(moments), move) for move in due)
        self._places = places
        self._ends: list[threading.Timer] = []
        self.done: Counter[str] = Counter()
        self.seen: set[psutil.Process] = set()

    @property
    def left(self) -> list[str]:
        """What was never possible when it was due."""
        return [move for _, move in self._left]

    def reach(self, episodes: int, driver: int) -> None:
        """So many episodes are stored: do what is due. What is not there now is hit later."""
        due = [moment for moment in self._left if moment[0] <= episodes]
        if not due:
            return
        found = descendants(driver)
        self.seen.update(found)
        for moment in due:
            if self._move(moment[1], driver, found):
                self._left.remove(moment)
                self.done[moment[1]] += 1

    def settle(self) -> None:
        """Wait until whatever was stopped goes on, lines are mended, and the disk has room."""
        for end in self._ends:
            end.join()
        self._ends.clear()

    def _move(self, move: str, driver: int, found: list[psutil.Process]) -> bool:
        what, which = move.split()
        match what, which:
            case "kill" | "stop", _:
                return self._signal(what, which, driver, found)
            case "cut", _:
                line = self._places.lines[which]
                line.cut()
                self._later(line.mend)
            case "fill", "disk":
                self._places.disk.fill()
                self._later(self._places.disk.clear)
            case "set", "clock":
                self._places.clock.advance(self._rng.choice(JUMPS_S))
        return True

    def _signal(self, what: str, kind: str, driver: int, found: list[psutil.Process]) -> bool:
        there = [psutil.Process(driver)] if kind == "driver" else [one for one in found if is_of_kind(one, kind)]
        if not there:
            return False
        victim = self._rng.choice(sorted(there, key=lambda process: process.pid))
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL if what == "kill" else signal.SIGSTOP)
        if what == "stop":
            self._later(lambda: _go_on(victim))
        return True

    def _later(self, end: Callable[[], None]) -> None:
        timer = threading.Timer(self._rng.uniform(*PAUSE_S), end)
        timer.start()
        self._ends.append(timer)


def moves(kills: int, stops: int, cuts: int, drivers: int, disks: int, clocks: int) -> dict[str, int]:
    """So many of each kind."""
    counted = {f"kill {kind}": kills for kind in KINDS} | {f"stop {kind}": stops for kind in KINDS}
    counted |= {"cut bucket": cuts, "cut policy": cuts, "fill disk": disks, "set clock": clocks}
    return counted | {"kill driver": drivers, "stop driver": drivers}


def _go_on(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)
