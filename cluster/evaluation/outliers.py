"""The episodes worth a look: those that took the longest, and those that cost the sandbox most."""

from collections.abc import Callable, Sequence

from cluster.evaluation.attempts import Attempt, of_policy, policies_of
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


def slowest(attempts: Sequence[Attempt]) -> tuple[Outlier, ...]:
    """Of each policy, the episodes that took the longest."""
    return _most(attempts, lambda attempt: attempt.wall_ms)


def dearest(attempts: Sequence[Attempt]) -> tuple[Outlier, ...]:
    """Of each policy, the episodes whose statements took the longest."""
    return _most(attempts, lambda attempt: attempt.sandbox_ms)


def _most(attempts: Sequence[Attempt], figure: Callable[[Attempt], float]) -> tuple[Outlier, ...]:
    found: list[Attempt] = []
    for policy in policies_of(attempts):
        ordered = sorted(of_policy(attempts, policy), key=lambda attempt: (-figure(attempt), attempt.episode_id))
        found += ordered[:SHOWN]
    return tuple(map(_outlier, found))


def _outlier(attempt: Attempt) -> Outlier:
    return Outlier(
        episode_id=attempt.episode_id,
        policy=attempt.policy,
        task_id=attempt.task_id,
        verdict=attempt.verdict,
        steps=attempt.step_count,
        wall_ms=attempt.wall_ms,
        policy_ms=attempt.policy_ms,
        sandbox_ms=attempt.sandbox_ms,
    )
