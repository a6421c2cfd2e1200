"""The interval of a rate whose observations hang together in clusters: quantiles of a beta-binomial posterior.

Each cluster has a rate of its own, beta distributed around the rate that is asked for; `correlation` is what two
observations of one cluster share. The model is integrated over a grid, as Gelman et al. do ("Bayesian Data Analysis",
3rd edition, §5.3). Priors: Jeffreys' arcsine one for the rate; Beta(0.35, 0.6) for the correlation, chosen by how often
the intervals cover the truth in simulations, which docs/evaluate.md tells. Unlike a variance that is estimated from a
few clusters, such an interval knows that clusters of a rare success are skewed.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RATES = 90
CORRELATIONS = 16
PRIOR = (0.35, 0.6)
NEGLIGIBLE = 1e-6
WITHIN_0_1 = np.pi / 2
"""Rates are laid out evenly in asin(sqrt(rate)), which runs from 0 to this: there Jeffreys' prior is flat."""


@dataclass(frozen=True)
class Clusters:
    """Clusters as counts, which need not be whole: effective sizes, effective successes, and each cluster's weight."""

    sizes: Floats
    successes: Floats
    weights: Floats


def clusters_of(values: Floats, clusters: npt.NDArray[np.int64], tasks: npt.NDArray[np.int64]) -> Clusters:
    """The counts of observations in [0, 1] by cluster; tasks and clusters are numbered from 0.

    Samples of one task say partly the same: a cluster counts as many effective tasks as its tasks' means vary. A large
    cluster weighs as it does in the plain mean; the weights add up to the effective number of clusters.
    """
    counts = np.bincount(clusters).astype(np.float64)
    per_task = np.bincount(tasks)
    means = np.bincount(tasks, weights=values) / per_task
    of_task = np.zeros(len(per_task), dtype=np.int64)
    of_task[tasks] = clusters
    rates = np.bincount(clusters, weights=values) / counts
    if len(per_task) == len(counts):  # a cluster is a task: its samples are what there is
        sizes = counts
    else:
        sizes = np.bincount(of_task).astype(np.float64) * _tasks_worth(means, of_task, float(values.mean()))
    shares = counts / counts.sum()
    return Clusters(sizes, rates * sizes, shares / (shares**2).sum())


def interval(found: Clusters, confidence: float) -> tuple[float, float]:
    """The equal-tailed interval of the rate, at least one cluster."""
    cumulative = np.concatenate([[0.0], np.cumsum(_posterior(found))])
    edges = np.linspace(0.0, WITHIN_0_1, RATES + 1)
    low, high = np.interp(_tails(confidence), cumulative, edges)
    return float(np.sin(low) ** 2), float(np.sin(high) ** 2)


def difference_interval(differ: Clusters, won: Clusters | None, confidence: float) -> tuple[float, float]:
    """The equal-tailed interval of rate * (2 * share - 1): of `differ` and of `won` among those that differ.

    Rate and share are taken as independent, as McNemar's test does, which looks at the share alone. Without any that
    differ the share is as likely to be anything.
    """
    share = np.full(RATES, 1 / RATES) if won is None else _posterior(won)
    differences = np.outer(_rates(), 2 * _rates() - 1).ravel()
    order = np.argsort(differences)
    cumulative = np.cumsum(np.outer(_posterior(differ), share).ravel()[order])
    low, high = np.interp(_tails(confidence), cumulative, differences[order])
    return float(low), float(high)


def _posterior(found: Clusters) -> Floats:
    """The probability of each of the grid's rates."""
    grid = _grid()
    logs = np.zeros_like(grid.first)
    rows, counts = np.unique(np.stack([found.sizes, found.successes, found.weights]), axis=1, return_counts=True)
    for (size, successes, weight), count in zip(rows.T, counts, strict=True):
        logs += weight * count * grid.log_likelihood(size, successes)
    mass = np.exp(logs - logs.max()).sum(axis=1)
    return np.asarray(mass / mass.sum(), dtype=np.float64)


def _tails(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _rates() -> Floats:
    """The middles of the grid's cells."""
    return np.asarray(np.sin((np.arange(RATES) + 0.5) / RATES * WITHIN_0_1) ** 2, dtype=np.float64)


@dataclass(frozen=True)
class _Grid:
    """Both parameters of the clusters' beta distribution at each [rate, correlation], and their sum by correlation."""

    first: Floats
    second: Floats
    scale: Floats
    constant: Floats

    def log_likelihood(self, size: float, successes: float) -> Floats:
        """Of a cluster's successes, but for a constant."""
        some = _log_gamma(self.first + successes) + _log_gamma(self.second + (size - successes))
        return some - _log_gamma(self.scale + size) + self.constant


def _tasks_worth(means: Floats, clusters: npt.NDArray[np.int64], overall: float) -> float:
    """How many tasks of one yes or no each a task is worth: at least 1, more if its samples average something out."""
    counts = np.bincount(clusters)
    rates = np.bincount(clusters, weights=means) / counts
    spread = overall * (1 - overall)
    if spread <= 0:
        return 1.0
    all_or_none = float((counts * rates * (1 - rates)).sum()) + spread  # one more task, as if of all or none
    variance = (float(((means - rates[clusters]) ** 2).sum()) + spread) / (len(means) - len(counts) + 1)
    return max(1.0, all_or_none / (len(means) + 1) / variance + len(counts) / (len(means) + 1))


@lru_cache(maxsize=1)
def _grid() -> _Grid:
    from scipy.stats import beta  # a second of imports, which only an evaluation needs

    rates = _rates()
    correlations = beta.ppf((np.arange(CORRELATIONS) + 0.5) / CORRELATIONS, *PRIOR)
    scale = 1 / np.clip(correlations, NEGLIGIBLE, 1 - NEGLIGIBLE) - 1
    first, second = rates[:, None] * scale, (1 - rates)[:, None] * scale
    return _Grid(first, second, scale, _log_gamma(scale) - _log_gamma(first) - _log_gamma(second))


def _log_gamma(values: Floats) -> Floats:
    from scipy.special import gammaln

    return np.asarray(gammaln(values), dtype=np.float64)
