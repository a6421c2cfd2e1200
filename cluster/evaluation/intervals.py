"""95 % intervals and tests for means whose observations hang together in clusters (the questions of one database).

Variance: CR2, the bias-reduced cluster-robust estimator, with Satterthwaite degrees of freedom, both of Bell and
McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples" (Survey Methodology
28(2), 2002), in closed form for a mean. For clusters of equal size that is the usual estimate with clusters - 1.
docs/evaluate.md says how often the intervals cover the truth in simulations.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from cluster.evaluation import overdispersion
from services.contracts.record import Record

CONFIDENCE = 0.95
FEW_CLUSTERS = 5
"""With fewer clusters, intervals cover the truth more or less often than they say: see docs/evaluate.md."""
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Unit = Literal["database", "task"]


class Estimate(Record):
    """A mean of `n` episodes (or tasks), with its interval over `clusters` databases, or tasks of a single database.

    The interval is None if there is but one cluster: nothing then tells how much clusters differ. With fewer than
    FEW_CLUSTERS it is given, but not `reliable`.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    clustered_by: Unit
    reliable: bool = True


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


def mean(values: Sequence[float], databases: Sequence[str], tasks: Sequence[str]) -> Estimate:
    """A mean with its t interval."""
    numbers, unit, clusters = clustered(values, databases, tasks)
    found = spread(numbers, clusters) if len(numbers) else None
    middle = float(numbers.mean()) if len(numbers) else None
    low = high = None
    if found is not None and middle is not None:
        half = _quantile(found.freedom) * found.error
        low, high = middle - half, middle + half
    return _estimate(middle, low, high, len(numbers), clusters, unit)


def rate(values: Sequence[float], databases: Sequence[str], tasks: Sequence[str]) -> Estimate:
    """A mean of values in [0, 1] with the interval of cluster rates that are beta distributed (overdispersion)."""
    numbers, unit, clusters = clustered(values, databases, tasks)
    middle = float(numbers.mean()) if len(numbers) else None
    low = high = None
    if middle is not None and len(set(clusters)) > 1:
        low, high = overdispersion.interval(_counted(numbers, clusters, tasks), CONFIDENCE)
        low, high = 0.0 if middle == 0 else min(low, middle), 1.0 if middle == 1 else max(high, middle)
    return _estimate(middle, low, high, len(numbers), clusters, unit)


def paired_difference(pairs: Sequence[tuple[float, float]], databases: Sequence[str], tasks: Sequence[str]) -> Estimate:
    """The mean of B - A over pairs of 0 or 1: how often the two differ, and how much more often B then has the 1."""
    numbers, unit, clusters = clustered([b - a for a, b in pairs], databases, tasks)
    middle = float(numbers.mean()) if len(numbers) else None
    low = high = None
    if middle is not None and len(set(clusters)) > 1:
        apart = np.flatnonzero(numbers)
        won = _counted((numbers > 0)[apart], *([of[i] for i in apart.tolist()] for of in (clusters, tasks)))
        low, high = overdispersion.difference_interval(
            _counted(numbers != 0, clusters, tasks), won if len(apart) else None, CONFIDENCE
        )
        low, high = min(low, middle), max(high, middle)
    return _estimate(middle, low, high, len(numbers), clusters, unit)


def p_value(differences: Sequence[float], databases: Sequence[str], tasks: Sequence[str]) -> float | None:
    """Two-sided p of a mean difference of 0: the cluster-robust t test.

    If the clusters do not differ at all, the sign test over tasks. None without differences.
    """
    from scipy.stats import t

    numbers, _, clusters = clustered(differences, databases, tasks)
    if not len(numbers):
        return None
    found, middle = spread(numbers, clusters), float(numbers.mean())
    if abs(middle) < 1e-12:
        return 1.0
    if found is None or found.error == 0:
        return min(1.0, 2 * 0.5 ** len(set(tasks)))
    return float(2 * t.sf(abs(middle) / found.error, found.freedom))


def clustered(
    values: Sequence[float], databases: Sequence[str], tasks: Sequence[str]
) -> tuple[Floats, Unit, Sequence[str]]:
    """The values, what they are clustered by, and the cluster of each."""
    unit = unit_of(databases)
    return np.asarray(values, dtype=np.float64), unit, databases if unit == "database" else tasks


def _quantile(freedom: float) -> float:
    from scipy.stats import t  # a second of imports

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))


def _counted(values: Floats | Booleans, clusters: Sequence[str], tasks: Sequence[str]) -> overdispersion.Clusters:
    return overdispersion.clusters_of(values.astype(np.float64), _numbered(clusters), _numbered(tasks))


def _numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The names as numbers from 0."""
    return np.asarray(np.unique(np.asarray(names, dtype=str), return_inverse=True)[1], dtype=np.int64)


def _estimate(
    middle: float | None, low: float | None, high: float | None, n: int, clusters: Sequence[str], unit: Unit
) -> Estimate:
    count = len(set(clusters))
    reliable = count >= FEW_CLUSTERS
    return Estimate(mean=middle, low=low, high=high, n=n, clusters=count, clustered_by=unit, reliable=reliable)
