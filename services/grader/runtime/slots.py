"""A timing slot: one core of a node, held as long as the slot lives, on which batches are measured one by one.

As a Ray actor it takes one `timing_slot` of its node, started with as many as `slots_here()` says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from services.grader.runtime.cores import claim_core, physical_cores
from services.grader.runtime.job import Comparison
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.timer import Timer
from services.grader.runtime.verdict import SecondOpinion

SLOT = "timing_slot"


class TimingSlot:
    """Measures on a core that it shares with no other measurement. Raises TimingFault if there is none in time."""

    def __init__(self, wait_s: float = 60.0) -> None:
        self._core = claim_core(wait_s)
        self._timer = Timer(self._core)

    def core(self) -> int:
        """The core that it holds."""
        return self._core.number

    def measure(self, batch: Sequence[Comparison], keep: Path | None = None) -> list[Measurement]:
        """The measurements of a batch, in order; `keep` as for Timer.batch. Raises TimingFault, BadInput."""
        return self._timer.batch(batch, keep)

    def remeasure(self, stored: Measurement) -> SecondOpinion:
        """The stored comparison measured again, beside what it first came to. Raises TimingFault, BadInput."""
        return self._timer.remeasure(stored)

    def close(self) -> None:
        """Let go of the core."""
        self._core.close()


def slots_here() -> int:
    """How many timing slots this node has: one for each physical core."""
    return len(physical_cores())


RemoteTimingSlot: Any = ray.remote(num_cpus=1, resources={SLOT: 1})(TimingSlot)
