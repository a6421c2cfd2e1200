"""The episodes worth a look: those that took the longest, and those that cost most, in money if that is known."""

from collections.abc import Callable, Sequence

from pydantic import Field

from cluster.evaluation.attempts import Attempt, of_policy, policies_of
from cluster.evaluation.figures import MILLION, Prices
from services.contracts.grading import Verdict
from services.contracts.record import Record

SHOWN = 3


class Outlier(Record):
    """One episode and what it took, in milliseconds of wall time: in all, for the policy, for its statements."""

    episode_id: str
    policy: str
    task_id: str
    verdict: Verdict
    steps: int
    wall_ms: float
    policy_ms: float
    sandbox_ms: float
    usd: float | None = Field(description="None: no tokens counted, or no price")


def slowest(attempts: Sequence[Attempt], prices: Prices) -> tuple[Outlier, ...]:
    """Of each policy, the episodes that took the longest."""
    return _most(attempts, prices, lambda attempt: (attempt.wall_ms, 0.0))


def dearest(attempts: Sequence[Attempt], prices: Prices) -> tuple[Outlier, ...]:
    """Of each policy, the episodes whose tokens cost most; where that is not known, whose statements ran longest."""
    return _most(attempts, prices, lambda attempt: (_usd(attempt, prices) or 0.0, attempt.sandbox_ms))


def _most(
    attempts: Sequence[Attempt], prices: Prices, figure: Callable[[Attempt], tuple[float, float]]
) -> tuple[Outlier, ...]:
    found: list[Attempt] = []
    for policy in policies_of(attempts):
        ordered = sorted(of_policy(attempts, policy), key=lambda attempt: attempt.episode_id)
        found += sorted(ordered, key=figure, reverse=True)[:SHOWN]
    return tuple(_outlier(attempt, prices) for attempt in found)


def _usd(attempt: Attempt, prices: Prices) -> float | None:
    price = prices.get(attempt.policy)
    if price is None or attempt.prompt_tokens is None:
        return None
    return (attempt.prompt_tokens * price.prompt + (attempt.completion_tokens or 0) * price.completion) / MILLION


def _outlier(attempt: Attempt, prices: Prices) -> Outlier:
    return Outlier(
        episode_id=attempt.episode_id,
        policy=attempt.policy,
        task_id=attempt.task_id,
        verdict=attempt.verdict,
        steps=attempt.step_count,
        wall_ms=attempt.wall_ms,
        policy_ms=attempt.policy_ms,
        sandbox_ms=attempt.sandbox_ms,
        usd=_usd(attempt, prices),
    )
