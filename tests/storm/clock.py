"""The wall clock of a run's processes, which can be set while they run. The machine's own clock is left alone.

The library libfaketime stands before the C library's clocks; it moves the time of day only, as an operator or NTP does.

    python -m tests.storm.clock CONFIG TASKS FOLDER

plays the first episodes of a config in this process, without Ray, while its clock is set back and forth all the time.
"""

import importlib.resources
import itertools
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from cluster.config import load_config
from services.env_actor.taskset import TaskSet
from tests.test_kills import calm_rows

DAY_S = 86_400
EVERY_S = 0.05
EPISODES = 30
FILE = "FAKETIME_TIMESTAMP_FILE"


class WallClock:
    """A clock that every process looks at which has its environment, within a second of a change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ahead = 0
        self.advance(0)

    def advance(self, seconds: int) -> None:
        """Set it forward; a negative number sets it back."""
        self._ahead += seconds
        partial = self._file.with_suffix(".tmp")
        partial.write_text(f"{self._ahead:+d}\n")
        partial.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        library = importlib.resources.files("libfaketime") / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
        return {
            "LD_PRELOAD": str(library),
            FILE: str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }


def set_back_and_forth(clock: WallClock, ended: threading.Event) -> None:
    """A day forward, two days back, two days forward, …"""
    for seconds in itertools.chain([DAY_S], itertools.cycle([-2 * DAY_S, 2 * DAY_S])):
        clock.advance(seconds)
        if ended.wait(EVERY_S):
            return


def main() -> None:
    ended = threading.Event()
    setting = threading.Thread(target=set_back_and_forth, args=(WallClock(Path(os.environ[FILE])), ended))
    setting.start()
    calm_rows(load_config(Path(sys.argv[1])), TaskSet(Path(sys.argv[2])), EPISODES, Path(sys.argv[3]))
    ended.set()
    setting.join()


if __name__ == "__main__":
    main()
