"""The group-sequential boundary: when pairs of timings say faster or slower, with an error of 1 % over all looks.

Two-sided: at most 0.5 % to call an equal job faster, 0.5 % to call it slower. Each side's 0.5 % is spent over the looks
as the power family (n/30)^2 says (Kim & DeMets, Biometrika 74, 1987), and each look spends its own share in a t test.
By Bonferroni's inequality the shares bound the whole, whatever the correlation between looks; this needs no constants
worked out for large samples, and costs 2 % of the last critical value. The intervals mean +- c * standard error over
the looks are repeated confidence intervals (Jennison & Turnbull, J. R. Statist. Soc. B 51, 1989): together they hold
with 99 %, wherever the measurement stops. A test simulates all of this.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats

from services.contracts.record import Record

LOOKS = (7, 15, 30)
ALPHA = 0.01
RHO = 2.0


class Look(Record):
    """The mean log ratio after so many pairs, with its repeated confidence interval."""

    pairs: int
    mean: float
    deviation: float
    low: float
    high: float

    @property
    def crossed(self) -> bool:
        """Whether equality is ruled out."""
        return self.low > 0 or self.high < 0


@cache
def critical_values() -> tuple[float, ...]:
    """The critical value of t at each look."""
    shares = np.diff([ALPHA / 2 * (pairs / LOOKS[-1]) ** RHO for pairs in LOOKS], prepend=0.0)
    return tuple(float(stats.t.isf(share, pairs - 1)) for share, pairs in zip(shares, LOOKS, strict=True))


def look_at(log_ratios: Sequence[float], look: int) -> Look:
    """The look number `look`, at the first pairs only."""
    seen = np.asarray(log_ratios[: LOOKS[look]])
    mean, deviation = float(seen.mean()), float(seen.std(ddof=1))
    reach = critical_values()[look] * deviation / math.sqrt(len(seen))
    return Look(pairs=len(seen), mean=mean, deviation=deviation, low=mean - reach, high=mean + reach)


def last_look(log_ratios: Sequence[float]) -> Look | None:
    """The look at which the measurement ends or has come to: the first that crossed, or the last; None before any."""
    found = None
    for index, pairs in enumerate(LOOKS):
        if len(log_ratios) < pairs:
            break
        found = look_at(log_ratios, index)
        if found.crossed:
            break
    return found


def canary_crossed(log_ratios: Sequence[float]) -> bool:
    """Whether one plain t test, at the same 1 %, says that the original differs from itself."""
    seen = np.asarray(log_ratios)
    reach = float(stats.t.isf(ALPHA / 2, len(seen) - 1)) * float(seen.std(ddof=1)) / math.sqrt(len(seen))
    return abs(float(seen.mean())) > reach
