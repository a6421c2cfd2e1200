"""The boundary errs as seldom as it says, wherever it stops, and finds what is there. All timings are simulated."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.grader.runtime.boundary import ALPHA, LOOKS, Look, canary_crossed, critical_values, last_look

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
COMPARISONS = 12_000
NOISE = 0.12
GAIN = math.log(1 / 0.9)


def normal(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    return NOISE * random.standard_normal((count, LOOKS[-1]))


def heavy(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.multiply(NOISE, random.standard_t(3, (count, LOOKS[-1])))


def spiked(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """One run in ten meets a neighbour, on either side."""
    quiet = random.normal(0.0, 0.02, (count, LOOKS[-1]))
    signs = random.choice((-1.0, 1.0), quiet.shape)
    spikes: NDArray[np.float64] = random.exponential(0.5, quiet.shape) * signs * (random.random(quiet.shape) < 0.1)
    return quiet + spikes


def looks_at(draw: Draw, seed: int, mean: float = 0.0, count: int = COMPARISONS) -> list[Look]:
    rows = draw(np.random.default_rng(seed), count) + mean
    found = [last_look(row.tolist()) for row in rows]
    return [look for look in found if look is not None]


def limits(looks: Sequence[Look], said: Callable[[Look], bool]) -> tuple[float, float]:
    """The 95 % interval of how often a look says so (Clopper and Pearson)."""
    interval = stats.binomtest(sum(map(said, looks)), len(looks)).proportion_ci(0.95)
    return float(interval.low), float(interval.high)


@pytest.mark.parametrize("mean", [GAIN, 0.3, 1.0])
def test_the_bound_that_is_paid_by_holds_wherever_the_measurement_stops(mean: float) -> None:
    looks = looks_at(normal, 2, mean)
    assert limits(looks, lambda look: look.low > mean)[0] <= ALPHA / 2
    assert limits(looks, lambda look: not look.low <= mean <= look.high)[1] <= 1.3 * ALPHA


@pytest.mark.parametrize("draw", [normal, heavy, spiked])
def test_equal_jobs_are_called_faster_or_slower_no_more_than_once_in_two_hundred_each(draw: Draw) -> None:
    looks = looks_at(draw, 1)
    assert len(looks) == COMPARISONS
    for said in (lambda look: look.low > 0, lambda look: look.high < 0):
        low, high = limits(looks, said)
        assert low <= ALPHA / 2
        assert high <= ALPHA


def test_a_gain_of_a_tenth_is_found_in_most_and_of_a_third_by_the_second_look() -> None:
    assert limits(looks_at(normal, 3, GAIN, 3_000), lambda look: look.low > 0)[0] >= 0.9
    thirds = looks_at(normal, 4, math.log(1 / 0.7), 3_000)
    assert limits(thirds, lambda look: look.low > 0 and look.pairs <= 15)[0] >= 0.99


def test_three_plain_looks_would_err_more_often_than_the_boundary_does() -> None:
    rows = normal(np.random.default_rng(5), COMPARISONS)
    plain = np.zeros(COMPARISONS, dtype=bool)
    for pairs in LOOKS:
        plain |= stats.ttest_1samp(rows[:, :pairs], 0.0, axis=1).pvalue < ALPHA
    assert stats.binomtest(int(plain.sum()), COMPARISONS).proportion_ci(0.95).low > 1.5 * ALPHA


def test_the_looks_spend_one_percent_in_all() -> None:
    spent = [2 * stats.t.sf(value, pairs - 1) for value, pairs in zip(critical_values(), LOOKS, strict=True)]
    assert sum(spent) == pytest.approx(ALPHA)
    assert spent == sorted(spent)


def test_nothing_is_said_before_the_first_look_and_nothing_changes_after_the_one_that_decided() -> None:
    assert last_look([0.5] * (LOOKS[0] - 1)) is None
    decided = [0.50, 0.51, 0.49, 0.52, 0.48, 0.50, 0.51]
    assert last_look(decided) == last_look(decided + [-9.0] * 23)
    assert last_look([0.0] * 7 + [0.1, -0.1] * 3) == last_look([0.0] * 7)


def test_the_canary_is_one_plain_test() -> None:
    rows = normal(np.random.default_rng(6), 4_000)[:, :7]
    fired = sum(canary_crossed(row.tolist()) for row in rows)
    assert stats.binomtest(fired, 4_000, ALPHA).pvalue > 0.001
    assert canary_crossed([0.2, 0.21, 0.19, 0.2, 0.22, 0.18, 0.2])
