"""The measured process: opens the sources, gives up its rights, starts the clock, runs the statements, ends.

Its messages are lines of JSON in a file that its parents made: `start` with the clock's first reading, then `ran` or
`stopped`. Nothing of the job runs before `start` is written. Standard library and duckdb only.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

from services.grader.runtime.confine import confine, writable
from services.grader.runtime.warden import supervise
from services.sandbox.rights import die_with_parent

READ_BYTES = 1 << 20
Order = dict[str, Any]


def main(messages_fd: int) -> None:
    """Read the order from stdin and supervise the run."""
    die_with_parent()
    order: Order = json.load(sys.stdin)
    os.sched_setaffinity(0, {order["core"]})
    watched = supervise(lambda: run(order, messages_fd), order["deadline_s"])
    tell(messages_fd, {"watched": watched.as_message()})


def tell(messages_fd: int, message: dict[str, object]) -> None:
    """Append a line to the messages."""
    os.write(messages_fd, json.dumps(message).encode() + b"\n")


def run(order: Order, messages_fd: int) -> None:
    """The life of the measured process."""
    import duckdb

    from services.grader.runtime.engine import Engine

    files = [path for source in order["sources"] for path in source["paths"]]
    confine(order["folder"], order["memory_mb"] + order["headroom_mb"], order["file_mb"], files)
    try:
        warm(files)
        engine = Engine(order)
    except (OSError, duckdb.Error) as error:
        tell(messages_fd, {"unready": str(error)[:500]})
        return
    tell(messages_fd, {"start": clock()})
    try:
        profiles = engine.run(order["statements"], order["query"], order["profile"])
        end = clock()
        tell(messages_fd, {"ran": {"end": end, "outputs": engine.outputs(order), "profiles": profiles}})
        if order["keep"]:
            engine.settle()
    except MemoryError as error:
        tell(messages_fd, {"stopped": "memory", "message": str(error)[:500]})
    except duckdb.Error as error:
        tell(messages_fd, {"stopped": engine.reason(error), "message": str(error)[:500]})


def warm(files: Sequence[str]) -> None:
    """Bring the sources into the machine's page cache, alike for either side. Raises OSError if one is not safe."""
    for path in files:
        if writable(path):
            raise PermissionError(f"{path} can be written by the measured process: chmod a-w it")
        with open(path, "rb", buffering=0) as file:
            while file.read(READ_BYTES):
                pass


def clock() -> dict[str, float]:
    """CPU seconds of this process so far, and the time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"user_s": usage.ru_utime, "system_s": usage.ru_stime, "at": time.monotonic()}
