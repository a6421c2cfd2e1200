"""95 % intervals and tests for means whose observations hang together in clusters (the questions of one database).

Variance: CR2, the bias-reduced cluster-robust estimator, with Satterthwaite degrees of freedom, both of Bell and
McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples" (Survey Methodology
28(2), 2002), in closed form for a mean. For clusters of equal size that is the usual estimate with clusters - 1.
docs/evaluation.md says how often the intervals cover the truth in simulations.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.contracts.record import Record

CONFIDENCE = 0.95
Floats = npt.NDArray[np.float64]
Unit = Literal["database", "task"]


class Estimate(Record):
    """A mean of `n` episodes (or tasks), with its interval over `clusters` databases, or tasks of a single database.

    The interval is None if there is but one cluster: nothing then tells how much clusters differ.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    clustered_by: Unit


class Spread(Record):
    """The standard error of a clustered mean, and the degrees of freedom of its t distribution."""

    error: float
    freedom: float


def unit_of(databases: Sequence[str]) -> Unit:
    """What observations are clustered by: the database, or the task where there is one database only."""
    return "database" if len(set(databases)) > 1 else "task"


def spread(values: Floats, clusters: Sequence[str]) -> Spread | None:
    """The CR2 standard error of the mean of `values`; None with fewer than two clusters."""
    names, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if len(names) < 2:
        return None
    n = len(values)
    sizes = np.bincount(index).astype(np.float64)
    share = sizes / n
    sums = np.bincount(index, weights=values - values.mean())
    variance = float((sums**2 / (1 - share)).sum()) / n**2
    scale = np.sqrt(1 - share)
    moments = (np.diag(sizes) - np.outer(sizes, sizes) / n) / np.outer(scale, scale)
    freedom = float(np.trace(moments) ** 2 / (moments**2).sum())
    error = math.sqrt(variance)
    return Spread(error=error if error > 1e-12 * (1 + float(np.abs(values).max())) else 0.0, freedom=freedom)


def mean(
    values: Sequence[float], databases: Sequence[str], tasks: Sequence[str], most: float | None = None
) -> Estimate:
    """A mean with its t interval, cut off at -most and most."""
    numbers, unit, clusters = _clustered(values, databases, tasks)
    found = spread(numbers, clusters) if len(numbers) else None
    middle = float(numbers.mean()) if len(numbers) else None
    low = high = None
    if found is not None and middle is not None:
        half, end = _quantile(found.freedom) * found.error, math.inf if most is None else most
        low, high = max(-end, middle - half), min(end, middle + half)
    return _estimate(middle, low, high, len(numbers), clusters, unit)


def rate(values: Sequence[float], databases: Sequence[str], tasks: Sequence[str]) -> Estimate:
    """A mean of values in [0, 1] with Wilson's interval at the effective sample size p(1 - p) / error².

    As Korn and Graubard do for Clopper-Pearson's ("Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data", Survey Methodology 24(2), 1998). Where all episodes came out alike,
    the number of tasks is the effective size.
    """
    numbers, unit, clusters = _clustered(values, databases, tasks)
    found = spread(numbers, clusters) if len(numbers) else None
    middle = float(numbers.mean()) if len(numbers) else None
    low = high = None
    if found is not None and middle is not None:
        size = float(len(set(tasks))) if middle in (0.0, 1.0) else float(len(numbers))
        if found.error > 0:
            size = min(size, max(1.0, middle * (1 - middle) / found.error**2))
        low, high = _wilson(middle, size, _quantile(found.freedom))
    return _estimate(middle, low, high, len(numbers), clusters, unit)


def p_value(differences: Sequence[float], databases: Sequence[str], tasks: Sequence[str]) -> float | None:
    """Two-sided p of a mean difference of 0: the cluster-robust t test.

    If the clusters do not differ at all, the sign test over tasks. None without differences.
    """
    from scipy.stats import t

    numbers, _, clusters = _clustered(differences, databases, tasks)
    if not len(numbers):
        return None
    found, middle = spread(numbers, clusters), float(numbers.mean())
    if abs(middle) < 1e-12:
        return 1.0
    if found is None or found.error == 0:
        return min(1.0, 2 * 0.5 ** len(set(tasks)))
    return float(2 * t.sf(abs(middle) / found.error, found.freedom))


def _clustered(
    values: Sequence[float], databases: Sequence[str], tasks: Sequence[str]
) -> tuple[Floats, Unit, Sequence[str]]:
    unit = unit_of(databases)
    return np.asarray(values, dtype=np.float64), unit, databases if unit == "database" else tasks


def _quantile(freedom: float) -> float:
    from scipy.stats import t  # a second of imports

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))


def _wilson(middle: float, size: float, quantile: float) -> tuple[float, float]:
    weight = quantile**2 / size
    centre = (middle + weight / 2) / (1 + weight)
    half = quantile / (1 + weight) * math.sqrt(middle * (1 - middle) / size + weight / (4 * size))
    return max(0.0, min(middle, centre - half)), min(1.0, max(middle, centre + half))


def _estimate(
    middle: float | None, low: float | None, high: float | None, n: int, clusters: Sequence[str], unit: Unit
) -> Estimate:
    return Estimate(mean=middle, low=low, high=high, n=n, clusters=len(set(clusters)), clustered_by=unit)
