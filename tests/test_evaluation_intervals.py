"""Intervals, tests and estimators against their definitions, against statsmodels, and against a known truth."""

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.evaluation.figures import figures, pass_at_k
from cluster.evaluation.intervals import mean, p_value, rate, spread
from cluster.evaluation.pairs import compare, corrected, flips, holm, mcnemar_p, paired
from tests.simulation import attempt, attempts, clustered

OUTCOMES = st.lists(st.lists(st.lists(st.booleans(), min_size=1, max_size=3), min_size=1, max_size=4), max_size=5)
SAME_SHAPE = st.lists(
    st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=3), min_size=1, max_size=4),
    min_size=1,
    max_size=5,
)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_the_ks_that_hold_a_right_answer(samples: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(samples)))
    draws = list(itertools.combinations(samples, k))
    share = Fraction(sum(map(any, draws)), len(draws))
    assert pass_at_k(len(samples), sum(samples), k) == pytest.approx(float(share))


@given(st.integers(1, 30), st.data())
def test_pass_at_k_grows_with_k_and_pass_at_1_is_the_rate(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    chances = [pass_at_k(n, correct, k) for k in range(1, n + 1)]
    assert chances == sorted(chances)
    assert chances[0] == pytest.approx(correct / n)


@settings(max_examples=50, deadline=None)
@given(OUTCOMES.filter(bool), st.randoms())
def test_figures_do_not_depend_on_the_order_of_the_episodes(
    outcomes: list[list[list[bool]]], dice: random.Random
) -> None:
    made = attempts("a", outcomes)
    shuffled = dice.sample(made, len(made))
    first, second = figures(made, "all", "all"), figures(shuffled, "all", "all")
    assert first.success.mean == pytest.approx(second.success.mean)
    assert (first.success.low is None) == (second.success.low is None)
    if first.success.low is not None and second.success.low is not None:
        assert first.success.low == pytest.approx(second.success.low)


@settings(max_examples=50, deadline=None)
@given(OUTCOMES.filter(bool))
def test_an_interval_holds_its_mean_and_stays_within_0_and_1(outcomes: list[list[list[bool]]]) -> None:
    success = figures(attempts("a", outcomes), "all", "all").success
    if success.low is None or success.high is None or success.mean is None:
        assert success.clusters == 1
    else:
        assert 0 <= success.low <= success.mean <= success.high <= 1
        assert success.low < success.high


def test_the_error_of_equal_clusters_is_that_of_statsmodels() -> None:
    values = clustered(np.random.default_rng(4), 0.4, 0.2).reshape(6, -1).astype(float)
    groups = np.repeat(np.arange(6), values.shape[1])
    flat = values.ravel()
    fitted = sm.OLS(flat, np.ones(len(flat))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = spread(flat, [str(group) for group in groups])
    assert found is not None
    assert found.error == pytest.approx(float(fitted.bse[0]))
    assert found.freedom == pytest.approx(5)


def test_an_unequal_cluster_costs_degrees_of_freedom() -> None:
    clusters = ["big"] * 60 + ["b"] * 5 + ["c"] * 5 + ["d"] * 5
    found = spread(np.random.default_rng(1).random(75), clusters)
    assert found is not None
    assert found.freedom < 2


def test_one_database_is_clustered_by_task_and_one_task_has_no_interval() -> None:
    one = figures(attempts("a", [[[True, False], [True, True], [False, False]]]), "all", "all").success
    assert (one.clusters, one.clustered_by) == (3, "task")
    assert one.low is not None
    alone = figures(attempts("a", [[[True, False]]]), "all", "all").success
    assert (alone.mean, alone.low, alone.high) == (0.5, None, None)


def test_all_right_or_all_wrong_still_has_an_interval() -> None:
    tasks = [f"t{place}" for place in range(60)]
    databases = [f"d{place % 6}" for place in range(60)]
    none, every = rate([0.0] * 60, databases, tasks), rate([1.0] * 60, databases, tasks)
    assert (none.mean, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - (every.low or 0))
    assert 0.03 < (none.high or 0) < 0.25


def test_faults_are_counted_and_never_averaged() -> None:
    made = [attempt("a", "d", 0, 0, True), attempt("a", "e", 0, 0, False, None)]
    seen = figures(made, "all", "all")
    assert (seen.episodes, seen.graded, seen.faulted, seen.success.mean) == (2, 1, 1, 1.0)
    assert seen.faults == {"SandboxFault": 1}
    only_faults = figures(made[1:], "all", "all")
    assert (only_faults.success.mean, only_faults.reward.mean, only_faults.pass_at) == (None, None, {})


@settings(max_examples=40, deadline=None)
@given(SAME_SHAPE)
def test_a_comparison_turned_round_is_the_same_with_the_other_sign(
    outcomes: list[list[list[tuple[bool, bool]]]],
) -> None:
    a, b = (attempts(name, [[[s[i] for s in t] for t in d] for d in outcomes]) for i, name in enumerate("ab"))
    there, back = compare(a, b, ("a", "b")), compare(b, a, ("b", "a"))
    assert (there.only_a, there.only_b, there.pairs) == (back.only_b, back.only_a, back.pairs)
    assert there.success.delta.mean == pytest.approx(-(back.success.delta.mean or 0.0))
    assert there.success.p == pytest.approx(back.success.p)
    assert there.mcnemar_p == back.mcnemar_p
    pairs = paired(a, b)
    assert there.pairs == there.both + there.neither + len(flips(pairs, "a")) + len(flips(pairs, "b"))


@settings(max_examples=40, deadline=None)
@given(OUTCOMES.filter(bool))
def test_a_policy_against_itself_differs_in_nothing(outcomes: list[list[list[bool]]]) -> None:
    made = attempts("a", outcomes)
    one = compare(made, made, ("a", "a"))
    assert (one.success.delta.mean, one.success.p, one.mcnemar_p, one.only_a, one.only_b) == (0, 1, 1, 0, 0)


def test_a_pair_with_a_fault_or_without_its_other_half_is_left_out_and_counted() -> None:
    a = [attempt("a", "d", 0, 0, True), attempt("a", "d", 1, 0, True), attempt("a", "d", 2, 0, True)]
    b = [attempt("b", "d", 0, 0, False), attempt("b", "d", 1, 0, False, None)]
    one = compare(a, b, ("a", "b"))
    assert (one.pairs, one.unpaired, one.only_a) == (1, 2, 1)


def test_mcnemar_is_the_binomial_test_of_the_flips() -> None:
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(values: list[float]) -> None:
    fixed = [value for value in holm(values) if value is not None]
    assert all(after >= before for before, after in zip(values, fixed, strict=True))
    assert [fixed[place] for place in np.argsort(values, kind="stable")] == sorted(fixed)
    assert min(fixed) == pytest.approx(min(1.0, min(values) * len(values)))
    assert holm([None, 0.5]) == [None, 0.5]


def test_corrected_takes_each_test_over_all_comparisons() -> None:
    dice = np.random.default_rng(2)
    made = [attempts(name, clustered(dice, p, 0.1).tolist()) for name, p in (("a", 0.2), ("b", 0.3), ("c", 0.6))]
    plain = [compare(made[x], made[y], ("", "")) for x, y in ((0, 1), (0, 2), (1, 2))]
    fixed = corrected(plain)
    assert [one.success.p_holm for one in fixed] == holm([one.success.p for one in plain])
    assert fixed[0].success.delta == plain[0].success.delta


def test_nothing_has_no_interval_and_no_p() -> None:
    assert mean([], [], []).mean is None
    assert rate([], [], []).mean is None
    assert p_value([], [], []) is None


@pytest.mark.parametrize(("clusters", "reliable"), [(4, False), (5, True)])
def test_an_interval_over_few_clusters_says_that_it_is_not_reliable(clusters: int, reliable: bool) -> None:
    databases = [f"d{place % clusters}" for place in range(40)]
    found = rate([float(place % 3 == 0) for place in range(40)], databases, [f"t{place}" for place in range(40)])
    assert found.reliable == reliable
    assert found.low is not None


@settings(max_examples=40, deadline=None)
@given(OUTCOMES.filter(lambda outcomes: len(outcomes) > 1))
def test_turning_right_into_wrong_turns_the_interval(outcomes: list[list[list[bool]]]) -> None:
    turned = [[[not sample for sample in task] for task in database] for database in outcomes]
    one, other = (figures(attempts("a", made), "all", "all").success for made in (outcomes, turned))
    assert one.low is not None
    assert other.high is not None
    assert one.low == pytest.approx(1 - other.high, abs=1e-6)


def test_a_reward_that_is_success_alone_has_the_interval_of_success() -> None:
    made = [attempts("a", clustered(np.random.default_rng(5), 0.3, 0.1).tolist())][0]
    seen = figures(made, "all", "all")
    assert seen.reward.low == pytest.approx(seen.success.low)
    assert seen.reward.high == pytest.approx(seen.success.high)


def test_samples_that_repeat_each_other_do_not_narrow_an_interval() -> None:
    once = clustered(np.random.default_rng(6), 0.4, 0.1, samples=1)
    four = np.repeat(once, 4, axis=2)
    one, other = (figures(attempts("a", made.tolist()), "all", "all").success for made in (once, four))
    assert (one.low, one.high) == (pytest.approx(other.low, abs=0.01), pytest.approx(other.high, abs=0.01))
