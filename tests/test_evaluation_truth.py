"""Evaluations of simulated policies whose truth is known: what intervals and gates say holds as often as they say."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from cluster.evaluation.combined import rewards
from cluster.evaluation.gates import one_sided
from cluster.evaluation.intervals import Estimate, p_value, paired_difference, rate
from cluster.evaluation.pairs import ALPHA
from tests.simulation import clustered

EVALUATIONS = 1000
TASKS, SAMPLES = 17, 4
Numbers = np.ndarray


def layout(databases: int) -> tuple[list[str], list[str]]:
    """The database and the task of each simulated episode."""
    names = [f"d{place}" for place in range(databases) for _ in range(TASKS * SAMPLES)]
    return names, [f"t{place}" for place in range(databases * TASKS) for _ in range(SAMPLES)]


def successes(chance: float, correlation: float, databases: int, seed: int) -> Iterator[Numbers]:
    """One policy's successes in each simulated evaluation."""
    dice = np.random.default_rng(seed)
    for _ in range(EVALUATIONS):
        yield clustered(dice, chance, correlation, databases, TASKS, SAMPLES).ravel().astype(float)


def covered(estimates: Iterator[Estimate], truth: float) -> int:
    """How many of the intervals hold the truth."""
    return sum((found.low or 0) <= truth <= (1 if found.high is None else found.high) for found in estimates)


def rates(chance: float, correlation: float, databases: int, seed: int = 0) -> int:
    names, tasks = layout(databases)
    return covered(
        (rate(made.tolist(), names, tasks) for made in successes(chance, correlation, databases, seed)), chance
    )


@pytest.mark.parametrize(("chance", "correlation"), [(0.1, 0.3), (0.3, 0.1), (0.5, 0.1)])
def test_intervals_cover_the_truth_in_93_to_97_of_100_evaluations(chance: float, correlation: float) -> None:
    assert 930 <= rates(chance, correlation, 6) <= 970


@pytest.mark.soak
@pytest.mark.parametrize("databases", [5, 6, 10, 20])
@pytest.mark.parametrize("correlation", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("chance", [0.05, 0.1, 0.3, 0.5, 0.8])
def test_intervals_cover_what_the_docs_say(chance: float, correlation: float, databases: int) -> None:
    assert 920 <= rates(chance, correlation, databases, seed=5) <= 985


def test_intervals_of_rewards_cover_the_truth() -> None:
    chance = 0.1
    names, tasks = layout(6)
    dice = np.random.default_rng(1)

    def paid(solved: Numbers) -> Estimate:
        shaped = 0.05 + 0.1 * solved + dice.normal(0, 0.05, solved.size)
        return rewards(solved.tolist(), (solved + shaped).tolist(), names, tasks)

    assert 930 <= covered(map(paid, successes(chance, 0.1, 6, 2)), 0.05 + 1.1 * chance) <= 975


def flips(won: float, lost: float, correlation: float, databases: int, seed: int) -> Iterator[Numbers]:
    """Pairs of each simulated evaluation: how often only B is right, and only A, differs by database."""
    dice = np.random.default_rng(seed)
    scale = 1 / correlation - 1
    for _ in range(EVALUATIONS):
        gains, losses = (dice.beta(chance * scale, (1 - chance) * scale, databases) for chance in (won, lost))
        drawn = dice.random((databases, TASKS))
        only_b, only_a = drawn < gains[:, None], drawn > 1 - np.minimum(losses, 1 - gains)[:, None]
        yield np.stack([only_a.ravel(), only_b.ravel()], axis=1).astype(float)


def differences(won: float, lost: float, correlation: float, databases: int, seed: int = 0) -> int:
    names = [f"d{place}" for place in range(databases) for _ in range(TASKS)]
    tasks = [f"t{place}" for place in range(databases * TASKS)]
    made = flips(won, lost, correlation, databases, seed)
    return covered((paired_difference([(a, b) for a, b in pairs.tolist()], names, tasks) for pairs in made), won - lost)


@pytest.mark.parametrize(("won", "lost"), [(0.04, 0.01), (0.2, 0.1)])
def test_intervals_of_differences_cover_the_truth(won: float, lost: float) -> None:
    assert 920 <= differences(won, lost, 0.1, 25) <= 980


@pytest.mark.soak
@pytest.mark.parametrize("databases", [6, 12, 25])
@pytest.mark.parametrize("correlation", [0.02, 0.1, 0.3])
@pytest.mark.parametrize(("won", "lost"), [(0.01, 0.01), (0.04, 0.01), (0.1, 0.05), (0.3, 0.3)])
def test_intervals_of_differences_cover_what_the_docs_say(
    won: float, lost: float, correlation: float, databases: int
) -> None:
    found = differences(won, lost, correlation, databases, seed=5)
    print(databases, correlation, won, lost, found / 10)
    assert found >= 880


def test_an_interval_of_a_difference_holds_zero_about_when_the_test_does() -> None:
    """Nine tasks lost and 36 won, over 25 databases."""
    tasks = [f"t{place}" for place in range(1000)]
    names = [f"d{place % 25}" for place in range(1000)]
    pairs = [(1.0, 0.0)] * 9 + [(0.0, 1.0)] * 36 + [(0.0, 0.0)] * 955
    found = paired_difference(pairs, names, tasks)
    assert 0 < (found.low or 0) < 0.027 < (found.high or 0) < 0.1
    assert (p_value([b - a for a, b in pairs], names, tasks) or 1) < ALPHA


def equals(correlation: float, databases: int) -> Callable[[], Numbers]:
    """Draws the successes of equal policies on the same databases: what one finds hard, the other does too."""
    dice = np.random.default_rng(7)
    chances = np.zeros(0)

    def draw() -> Numbers:
        nonlocal chances
        scale = 1 / correlation - 1
        chances = dice.beta(0.3 * scale, 0.7 * scale, databases)
        return np.asarray(dice.random((4, databases, TASKS * SAMPLES)) < chances[None, :, None]).reshape(4, -1)

    return draw


@pytest.mark.parametrize("correlation", [0.02, 0.3])
def test_the_gate_no_worse_than_gives_at_most_5_false_alarms_in_100(correlation: float) -> None:
    names, tasks = layout(6)
    draw, dice, alarms = equals(correlation, 6), np.random.default_rng(8), 0
    for _ in range(EVALUATIONS):
        made = draw().astype(float)
        sided = []
        for before, after in (made[:2], made[2:]):
            shaping = dice.normal(0, 0.1, before.size)
            for delta in (after - before, after - before + shaping):
                sided.append(one_sided(float(delta.mean()), p_value(delta.tolist(), names, tasks)))
        alarms += min(p for p in sided if p is not None) * len(sided) < ALPHA  # Holm's first step
    assert alarms <= 50 + 2 * 7  # two standard errors of a count of 1,000


def test_equal_policies_are_called_different_in_at_most_6_of_100_evaluations() -> None:
    names, tasks = layout(6)
    pairs = zip(successes(0.4, 0.1, 6, 3), successes(0.4, 0.1, 6, 9), strict=True)
    found = [p_value((b - a).tolist(), names, tasks) for a, b in pairs]
    assert sum(p is not None and p < ALPHA for p in found) <= 60
