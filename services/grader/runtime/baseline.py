"""The isolation baseline: the original's own runs beside the rewrite's, which split a gain over production in two.

production / rewrite = (production / original alone) x (original alone / rewrite): relief from contention, and the
rewrite's own effect. Only the second is the rewrite's doing, and only it is ever paid.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.verdict import Finding, derive

CONFIDENCE = 0.99
Logs = NDArray[np.float64]


class Ratio(Record):
    """A ratio of times with its interval."""

    value: float
    low: float
    high: float


class GainSplit(Record):
    """A rewrite's gain over a production history. The three ratios are of wall time: total = relief x own."""

    production_runs: int
    production_s: float = Field(description="geometric mean of the history")
    original_s: float = Field(description="geometric mean, alone on its core")
    rewrite_s: float
    total: Ratio = Field(description="production over rewrite")
    relief: Ratio = Field(description="production over original alone: contention, and whatever else differs there")
    own: Ratio = Field(description="original alone over rewrite")
    own_cpu: Ratio | None = Field(description="the same in CPU time, as the verdict has it; None: too few pairs")

    @property
    def own_share(self) -> float | None:
        """The rewrite's own part of the gain, in logarithms; None if there is no gain."""
        whole = math.log(self.total.value)
        return math.log(self.own.value) / whole if whole > 0 else None


def split_gain(measurement: Measurement, history_s: Sequence[float]) -> GainSplit:
    """Split the gain over production runs of so many seconds each. Raises BadInput for too few runs or no pairs."""
    if len(history_s) < 2 or min(history_s) <= 0:
        raise BadInput("a production history needs at least two runs, with durations above 0 s")
    if len(measurement.pairs) < 2:
        raise BadInput("there are not two pairs of timings to split a gain by")
    production = np.log(np.asarray(history_s))
    original = np.log([pair.original.wall_s for pair in measurement.pairs])
    rewrite = np.log([pair.rewrite.wall_s for pair in measurement.pairs])
    return GainSplit(
        production_runs=len(history_s),
        production_s=math.exp(production.mean()),
        original_s=math.exp(original.mean()),
        rewrite_s=math.exp(rewrite.mean()),
        total=_between(production, rewrite),
        relief=_between(production, original),
        own=_of(original - rewrite),
        own_cpu=_verdicts_own(derive(measurement)),
    )


def _verdicts_own(finding: Finding) -> Ratio | None:
    if finding.speed_up is None or finding.low is None or finding.high is None:
        return None
    return Ratio(value=finding.speed_up, low=finding.low, high=finding.high)


def _of(logs: Logs) -> Ratio:
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(CONFIDENCE)
    return _ratio(logs.mean(), interval.low, interval.high)


def _between(left: Logs, right: Logs) -> Ratio:
    interval = stats.ttest_ind(left, right, equal_var=False).confidence_interval(CONFIDENCE)
    return _ratio(left.mean() - right.mean(), interval.low, interval.high)


def _ratio(mean: float, low: float | Logs, high: float | Logs) -> Ratio:
    return Ratio(value=math.exp(mean), low=float(np.exp(low)), high=float(np.exp(high)))
