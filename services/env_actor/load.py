"""What an env actor holds at a moment: the queues before its policies and its sandbox, its children, its memory."""

import resource
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from services.contracts.record import Record


class ActorLoad(Record):
    """Counts of one actor; all but `children_ended` are of this moment."""

    episodes: int = Field(description="handed over by the driver and not yet safe in a sink")
    turns: int = Field(description="waiting for the next call of a policy")
    statements: int = Field(description="running in a sandbox child, or waiting for one")
    children: int = Field(description="sandbox children")
    children_ended: int = Field(description="children given up since the actor was made: killed, crashed, or grown")
    memory_bytes: int = Field(description="resident memory of the actor's own process, its children left out")


Watch = Callable[[ActorLoad], None]


def resident_bytes() -> int:
    """The resident memory of this process (/proc/self/statm, second field)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
