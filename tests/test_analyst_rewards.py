"""The analyst's reward arithmetic: whatever the scores do, an episode is paid for its best one, once."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.env_actor.analyst.rewards import (
    COMPLETE_AT,
    COMPLETION,
    EFFICIENCY,
    IMPROVEMENT,
    INVALID,
    AnalystLedger,
    is_complete,
)
from services.grader.analyst.gold import CostRange
from services.grader.analyst.scoring import saved_share

SCORES = st.lists(st.none() | st.floats(0, 1), max_size=30)
SMALLEST_GAIN = 1e-300
"""Half of less may be no number any more."""


@given(SCORES, st.integers(1, 40))
def test_improvements_add_up_to_half_of_the_best_score(scores: list[float | None], budget: int) -> None:
    ledger = AnalystLedger(budget)
    paid = sum(ledger.step(score, invalid=False, completes=False).improvement for score in scores)
    best = max((score for score in scores if score is not None), default=0.0)
    assert math.isclose(paid, IMPROVEMENT * best, abs_tol=1e-9)
    assert all(0 <= IMPROVEMENT * best <= 0.5 for _ in scores)


@given(SCORES, st.integers(1, 40))
@example([0.05, 0.21, 0.21], 10)  # 0.05 + (0.21 - 0.05) < 0.21
def test_no_step_that_does_not_improve_is_paid(scores: list[float | None], budget: int) -> None:
    ledger, best = AnalystLedger(budget), 0.0
    for score in scores:
        step = ledger.step(score, invalid=False, completes=False)
        gain = (score or 0.0) - best
        assert step.improvement == 0 or gain > 0
        assert step.improvement > 0 or gain < SMALLEST_GAIN
        best = max(best, score or 0.0)


@given(SCORES, st.integers(2, 40))
def test_more_steps_to_the_same_score_are_never_paid_more(scores: list[float | None], budget: int) -> None:
    slow, fast = AnalystLedger(budget), AnalystLedger(budget)
    slowly = sum(slow.step(score, False, False).total() for score in scores)
    at_once = fast.step(max((s for s in scores if s is not None), default=0.0), False, False).total()
    assert slowly <= at_once + 1e-9


@pytest.mark.parametrize(("budget", "first"), [(10, 6), (15, 8), (4, 3), (1, 1)])
def test_steps_cost_after_the_midpoint(budget: int, first: int) -> None:
    ledger = AnalystLedger(budget)
    costs = [ledger.step(None, False, False).efficiency for _ in range(budget)]
    assert costs == [0.0] * (first - 1) + [EFFICIENCY] * (budget - first + 1)


def test_the_amounts_are_those_of_the_requirements() -> None:
    ledger = AnalystLedger(10)
    step = ledger.step(0.6, invalid=True, completes=True)
    assert (step.improvement, step.completion, step.invalid, step.efficiency) == (0.3, 0.5, -0.1, 0.0)
    assert math.isclose(step.total(), 0.7)
    assert (IMPROVEMENT, COMPLETION, COMPLETE_AT, INVALID, EFFICIENCY) == (0.5, 0.5, 0.8, -0.1, -0.02)


@given(st.floats(0, 1))
def test_a_score_completes_from_080_on(score: float) -> None:
    assert is_complete(score) == (score >= 0.8 - 1e-9)
    assert is_complete(0.6 + 0.4 * 0.5)


@given(st.floats(1, 1e9), st.floats(1.01, 100), st.floats(1, 1e9), st.floats(1, 1e9))
def test_less_cost_never_saves_less(lean: float, times: float, one: float, other: float) -> None:
    span = CostRange(engine="x", slow=lean * times, lean=lean)
    low, high = sorted((one, other))
    assert 0 <= saved_share(high, span) <= saved_share(low, span) <= 1
    assert saved_share(span.slow, span) == 0
    assert math.isclose(saved_share(span.lean, span), 1)
