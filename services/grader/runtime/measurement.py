"""Everything that was measured of a rewrite beside its original: stored whole, and every verdict is derived from it."""

import math
from typing import Literal

from pydantic import Field

from services.contracts.record import Record
from services.grader.runtime.job import Comparison
from services.grader.runtime.run import Run, StopReason

LEAST_S = 1e-6
"""What the kernel's clock can tell apart."""
Side = Literal["original", "rewrite"]


class Pair(Record):
    """One run of each side, one right after the other."""

    original: Run
    rewrite: Run
    first: Side

    @property
    def log_ratio(self) -> float:
        """ln(original's CPU seconds / rewrite's): above 0 where the rewrite is faster."""
        return math.log(max(self.original.cpu_s, LEAST_S) / max(self.rewrite.cpu_s, LEAST_S))


class Unfit(Record):
    """Why there is nothing to compare. On the original's side it is a fault of the task, never the agent's."""

    side: Side
    reason: StopReason | Literal["changed", "different"] = Field(
        description="changed: another output in a later run; different: another output than the original's"
    )
    message: str


class Machine(Record):
    """Where it was measured."""

    host: str
    cpu: str
    cores: int
    kernel: str
    engine: str = Field(description="DuckDB's version")
    load: float = Field(description="processes that wanted to run, over the last minute, when the measurement started")


class Measurement(Record):
    """The pairs of one comparison, in the order in which they were taken."""

    comparison: Comparison
    machine: Machine
    canary: tuple[Pair, ...] = Field(description="the batch's original against itself, taken before")
    original: Run | None = Field(default=None, description="the profiled run, whose time is not used")
    rewrite: Run | None = None
    pairs: tuple[Pair, ...] = ()
    equal_plans: bool = Field(default=False, description="the engine would do the same: not timed")
    unfit: Unfit | None = None

    @property
    def log_ratios(self) -> tuple[float, ...]:
        """ln(original / rewrite) of every pair."""
        return tuple(pair.log_ratio for pair in self.pairs)
