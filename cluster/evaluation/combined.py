"""The interval of a sum of two means from the intervals of both, so that skewed ones stay skewed.

Source: Zou and Donner, "Construction of confidence limits about effect measures: a general approach" (Statistics in
Medicine 27(10), 2008): the distances to the two limits add up as standard errors do. Their correlation is that of the
clusters' means.
"""

import math
from collections.abc import Sequence

import numpy as np

from cluster.evaluation.intervals import Estimate, clustered, mean, paired_difference, rate


def rewards(
    successes: Sequence[float], paid: Sequence[float], databases: Sequence[str], tasks: Sequence[str]
) -> Estimate:
    """The mean of what was paid: the rate of successes, each worth 1, and the mean of the rest."""
    rest = [whole - success for whole, success in zip(paid, successes, strict=True)]
    solved, shaped = rate(successes, databases, tasks), mean(rest, databases, tasks)
    together = _correlation(successes, rest, databases, tasks)
    return _sum(solved, shaped, together, mean(paid, databases, tasks).mean)


def reward_difference(
    successes: Sequence[tuple[float, float]],
    paid: Sequence[tuple[float, float]],
    databases: Sequence[str],
    tasks: Sequence[str],
) -> Estimate:
    """B - A of rewards: the difference of successes, and that of the rest."""
    gained = [b - a for a, b in successes]
    deltas = [b - a for a, b in paid]
    rest = [delta - gain for delta, gain in zip(deltas, gained, strict=True)]
    solved, shaped = paired_difference(successes, databases, tasks), mean(rest, databases, tasks)
    together = _correlation(gained, rest, databases, tasks)
    return _sum(solved, shaped, together, mean(deltas, databases, tasks).mean)


def _sum(first: Estimate, second: Estimate, correlation: float, middle: float | None) -> Estimate:
    """The interval around `middle`, which is the sum of both means."""
    low = high = None
    if middle is not None and first.mean is not None and second.mean is not None:
        below = _distance(first.mean, first.low, second.mean, second.low, correlation)
        above = _distance(first.mean, first.high, second.mean, second.high, correlation)
        low, high = None if below is None else middle - below, None if above is None else middle + above
    return first.model_copy(update={"mean": middle, "low": low, "high": high})


def _distance(
    first: float, first_limit: float | None, second: float, second_limit: float | None, correlation: float
) -> float | None:
    if first_limit is None or second_limit is None:
        return None
    one, other = abs(first - first_limit), abs(second - second_limit)
    return math.sqrt(max(0.0, one**2 + other**2 + 2 * correlation * one * other))


def _correlation(
    first: Sequence[float], second: Sequence[float], databases: Sequence[str], tasks: Sequence[str]
) -> float:
    """The correlation of the clusters' means; 0 where one of them does not vary."""
    numbers, _, clusters = clustered(first, databases, tasks)
    if not len(numbers):
        return 0.0
    index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1]
    counts = np.bincount(index)
    ours, theirs = (np.bincount(index, weights=np.asarray(values)) / counts for values in (first, second))
    if min(np.ptp(ours), np.ptp(theirs)) < 1e-12:
        return 0.0
    return float(np.corrcoef(ours, theirs)[0, 1])
