"""Verdicts, rewards and splits are functions of the stored pairs alone. The timings here are made up."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.errors import BadInput
from services.grader.runtime.baseline import split_gain
from services.grader.runtime.job import Comparison, Job
from services.grader.runtime.measurement import Machine, Measurement, Pair, Unfit
from services.grader.runtime.pay import PayMode, PayRules, pay
from services.grader.runtime.run import Run
from services.grader.runtime.verdict import Finding, SecondOpinion, derive

MACHINE = Machine(host="h", cpu="c", cores=2, kernel="k", engine="1.5.6", load=0.0)
COMPARISON = Comparison(original=Job(statements=("SELECT 1",)), rewrite=("SELECT 1 AS one",))
WOBBLE = (0.02, -0.03, 0.01, 0.0, -0.01, 0.03, -0.02)
ratios = st.lists(st.floats(-2, 2), min_size=0, max_size=40)


def run(cpu_s: float, wall_s: float | None = None) -> Run:
    return Run(core=0, user_s=cpu_s, system_s=0.0, wall_s=wall_s or cpu_s)


def measured(log_ratios: Sequence[float], sleep_s: float = 0.0) -> Measurement:
    """Pairs of those log ratios; the original sleeps so long in each run."""
    pairs = [
        Pair(original=run(math.exp(ratio), math.exp(ratio) + sleep_s), rewrite=run(1.0), first="original")
        for ratio in log_ratios
    ]
    return Measurement(comparison=COMPARISON, machine=MACHINE, canary=(), pairs=tuple(pairs))


def around(mean: float, count: int) -> list[float]:
    return [mean + WOBBLE[index % len(WOBBLE)] for index in range(count)]


@given(ratios)
def test_a_verdict_comes_back_the_same_from_storage(log_ratios: list[float]) -> None:
    stored = measured(log_ratios)
    assert derive(Measurement.model_validate_json(stored.model_dump_json())) == derive(stored)


@given(ratios)
def test_the_sides_exchanged_exchange_the_verdict(log_ratios: list[float]) -> None:
    turned = {"faster": "slower", "slower": "faster"}
    there, back = derive(measured(log_ratios)), derive(measured([-ratio for ratio in log_ratios]))
    assert there.verdict is not None
    assert back.verdict == turned.get(there.verdict, there.verdict)
    if there.low is not None and back.high is not None:
        assert there.low == pytest.approx(1 / back.high)


@given(ratios, st.sampled_from(["log", "helios_gate", "bird_steps"]), st.booleans())
def test_no_more_than_what_is_proven_is_paid(log_ratios: list[float], mode: PayMode, equal: bool) -> None:
    finding = derive(measured(log_ratios))
    paid = pay(finding, equal, PayRules(mode=mode))
    assert paid is not None
    assert 0 <= paid <= (1.25 if mode == "bird_steps" else 1.0)
    if not equal:
        assert paid == 0
    if mode != "bird_steps" and paid > 0:
        assert finding.verdict == "faster"
        assert finding.low is not None
        assert finding.low > 1.05


def test_each_verdict_is_reached() -> None:
    assert derive(measured(around(0.3, 7))).verdict == "faster"
    assert derive(measured(around(-0.3, 7))).verdict == "slower"
    assert derive(measured(around(0.0, 30))).verdict == "same"
    assert derive(measured([0.5, -0.5] * 15)).verdict == "undecided"
    assert derive(measured(around(0.3, 6))).verdict == "undecided"


@pytest.mark.parametrize(
    ("speed_up", "paid"),
    [(0.5, 0.0), (1.0, 0.0), (1.04, 0.0), (1.06, math.log(1.06) / math.log(2)), (2.0, 1.0), (9.0, 1.0)],
)
def test_the_default_pays_the_logarithm_of_the_lower_bound_outside_a_dead_zone(speed_up: float, paid: float) -> None:
    finding = Finding(verdict="faster", pairs=7, speed_up=speed_up * 1.1, low=speed_up, high=speed_up * 1.2)
    assert pay(finding, True, PayRules()) == pytest.approx(paid)


def test_the_dead_zone_is_no_part_of_the_verdict() -> None:
    finding = derive(measured(around(0.04, 30)))
    assert finding.verdict == "faster"
    assert pay(finding, True, PayRules()) == 0


@pytest.mark.parametrize(("low", "paid"), [(1.17, 0.0), (1.18, 1.0), (1.0, 0.0)])
def test_the_gate_pays_from_fifteen_percent_of_time_saved(low: float, paid: float) -> None:
    finding = Finding(verdict="faster", pairs=7, speed_up=3.0, low=low, high=4.0)
    assert pay(finding, True, PayRules(mode="helios_gate")) == paid


@pytest.mark.parametrize(
    ("low", "high", "paid"), [(2.1, 3.0, 1.25), (1.5, 2.5, 1.0), (0.9, 1.1, 1.0), (0.6, 0.7, 0.75), (0.3, 0.4, 0.5)]
)
def test_the_steps_are_taken_by_the_proven_ratio(low: float, high: float, paid: float) -> None:
    finding = Finding(verdict="undecided", pairs=30, speed_up=(low + high) / 2, low=low, high=high)
    assert pay(finding, True, PayRules(mode="bird_steps")) == paid
    slow = Finding(verdict="slower", pairs=7, speed_up=0.15, low=0.1, high=0.2)
    assert pay(slow, True, PayRules(mode="bird_steps")) == 0.25


def test_what_sleeps_is_not_slower() -> None:
    finding = derive(measured(around(0.0, 30), sleep_s=5.0))
    assert finding.verdict == "same"
    assert pay(finding, True, PayRules()) == 0


def test_an_original_that_cannot_be_measured_leaves_the_rewrite_ungraded() -> None:
    for side, paid in (("original", None), ("rewrite", 0.0)):
        unfit = Unfit.model_validate({"side": side, "reason": "deadline", "message": "late"})
        finding = derive(measured([]).model_copy(update={"unfit": unfit}))
        assert finding.verdict is None
        assert pay(finding, True, PayRules()) == paid


def test_equal_plans_are_the_same_without_pairs() -> None:
    finding = derive(measured([]).model_copy(update={"equal_plans": True}))
    assert (finding.verdict, finding.proven, pay(finding, True, PayRules())) == ("same", 1.0, 0.0)


def test_a_second_measurement_stands_or_does_not() -> None:
    faster, slower, open_ = (measured(around(mean, 7)) for mean in (0.3, -0.3, 0.0))
    opinions = [
        SecondOpinion(first=derive(faster), second=derive(other), measurement=other)
        for other in (faster, open_, slower)
    ]
    assert [opinion.stands for opinion in opinions] == [True, False, False]
    assert [opinion.contradicted for opinion in opinions] == [False, False, True]


@given(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_gain_over_production_is_relief_times_the_rewrites_own(relief: float, own: float) -> None:
    pairs = measured(around(own, 7))
    history = [math.exp(relief + own + wobble) for wobble in WOBBLE]
    split = split_gain(pairs, history)
    assert split.total.value == pytest.approx(split.relief.value * split.own.value)
    assert split.own.low <= math.exp(own) * 1.0001
    assert split.own.high >= math.exp(own) * 0.9999
    assert split.relief.low <= math.exp(relief) * 1.0001
    assert split.relief.high >= math.exp(relief) * 0.9999


def test_relief_alone_is_never_the_rewrites() -> None:
    pairs = measured(around(0.0, 30))
    split = split_gain(pairs, [2.0, 2.1, 1.9])
    assert split.total.low > 1.5
    assert split.own_share == pytest.approx(0.0, abs=0.02)
    assert split.own_cpu is not None
    assert split.own_cpu.low < 1 < split.own_cpu.high
    assert pay(derive(pairs), True, PayRules()) == 0


def test_a_history_of_one_run_is_refused() -> None:
    with pytest.raises(BadInput, match="at least two runs"):
        split_gain(measured(around(0.0, 7)), [2.0])
