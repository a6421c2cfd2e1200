"""The verdict on a measurement, a pure function of the stored pairs: faster, slower, same or undecided.

`proven` is the speed-up nearest to 1 that the interval leaves: what every reward is paid by.
"""

import math
from typing import Literal

from pydantic import Field

from services.contracts.record import Record
from services.grader.runtime.boundary import Look, last_look
from services.grader.runtime.measurement import Measurement, Unfit

RuntimeVerdict = Literal["faster", "slower", "same", "undecided"]
SAME_WITHIN = math.log(1.05)
"""An interval inside +-5 % after the last look is called the same."""


class Finding(Record):
    """What the pairs say about original over rewrite, in CPU time."""

    verdict: RuntimeVerdict | None = Field(description="None: unfit, there was nothing to compare")
    pairs: int = Field(description="pairs that were used: those up to the look that decided")
    speed_up: float | None = Field(description="geometric mean; 1 for equal plans; None if nothing was timed")
    low: float | None = Field(description="lower bound of the speed-up, two-sided 99 % over all looks")
    high: float | None
    deviation: float | None = Field(default=None, description="standard deviation of the log ratios")
    unfit: Unfit | None = None

    @property
    def proven(self) -> float:
        """The speed-up nearest to 1 in the interval; 1 if there is none."""
        if self.low is None or self.high is None:
            return 1.0
        return min(max(1.0, self.low), self.high)


def derive(measurement: Measurement) -> Finding:
    """The verdict, derived from what is stored."""
    if measurement.unfit is not None:
        return Finding(verdict=None, pairs=0, speed_up=None, low=None, high=None, unfit=measurement.unfit)
    if measurement.equal_plans:
        return Finding(verdict="same", pairs=0, speed_up=1.0, low=1.0, high=1.0)
    look = last_look(measurement.log_ratios)
    if look is None:
        return Finding(verdict="undecided", pairs=len(measurement.pairs), speed_up=None, low=None, high=None)
    return Finding(
        verdict=_verdict(look),
        pairs=look.pairs,
        speed_up=math.exp(look.mean),
        low=math.exp(look.low),
        high=math.exp(look.high),
        deviation=look.deviation,
    )


def _verdict(look: Look) -> RuntimeVerdict:
    if look.crossed:
        return "faster" if look.mean > 0 else "slower"
    return "same" if max(abs(look.low), abs(look.high)) <= SAME_WITHIN else "undecided"


class SecondOpinion(Record):
    """A verdict beside the one that the same comparison came to when it was measured again."""

    first: Finding
    second: Finding
    measurement: Measurement = Field(description="the second one")

    @property
    def stands(self) -> bool:
        """Whether both say the same."""
        return self.first.verdict == self.second.verdict

    @property
    def contradicted(self) -> bool:
        """Whether one says faster and the other slower: more than not enough pairs."""
        return {self.first.verdict, self.second.verdict} == {"faster", "slower"}
