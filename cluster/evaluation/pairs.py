"""Paired differences: two policies on the same tasks and samples, their tests, and the pairs that flipped.

Every difference is B - A. A pair counts only if both of its episodes were graded.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from cluster.evaluation.attempts import Attempt, of_policy, policies_of
from cluster.evaluation.combined import reward_difference
from cluster.evaluation.intervals import CONFIDENCE, Estimate, p_value, paired_difference
from services.contracts.record import Record

ALPHA = 1 - CONFIDENCE
Pair = tuple[Attempt, Attempt]


class Difference(Record):
    """B - A of one figure. `p` is of the cluster-robust t test, `p_holm` corrected over all comparisons beside it."""

    a: float | None
    b: float | None
    delta: Estimate
    p: float | None
    p_holm: float | None

    @property
    def significant(self) -> bool:
        """Whether the corrected p is under 0.05."""
        return self.p_holm is not None and self.p_holm < ALPHA


class Comparison(Record):
    """Policy B against policy A. `mcnemar_p` is exact, but takes pairs as independent; `p` of success does not."""

    a: str
    b: str
    pairs: int
    unpaired: int
    both: int
    only_a: int
    only_b: int
    neither: int
    success: Difference
    mcnemar_p: float | None
    mcnemar_p_holm: float | None
    reward: Difference


class Flip(Record):
    """One task and sample that only one of the two solved, with both episodes to look at."""

    task_id: str
    database: str
    sample_index: int
    episode_a: str
    episode_b: str


def paired(a: Sequence[Attempt], b: Sequence[Attempt]) -> list[Pair]:
    """The graded attempts of A and B at the same task and sample, by task and sample."""
    mine = {(attempt.task_id, attempt.sample_index): attempt for attempt in a if attempt.graded}
    theirs = {(attempt.task_id, attempt.sample_index): attempt for attempt in b if attempt.graded}
    return [(mine[key], theirs[key]) for key in sorted(mine.keys() & theirs.keys())]


def compare(a: Sequence[Attempt], b: Sequence[Attempt], names: tuple[str, str]) -> Comparison:
    """B against A, not yet corrected for other comparisons."""
    pairs = paired(a, b)
    only_a, only_b = (len(flips(pairs, better)) for better in ("a", "b"))
    databases, tasks = [first.database for first, _ in pairs], [first.task_id for first, _ in pairs]
    solved = [(first.success, second.success) for first, second in pairs]
    paid = [(first.reward or 0.0, second.reward or 0.0) for first, second in pairs]
    both = sum(first.success and second.success for first, second in pairs)
    return Comparison(
        a=names[0],
        b=names[1],
        pairs=len(pairs),
        unpaired=len({(x.task_id, x.sample_index) for x in (*a, *b)}) - len(pairs),
        both=int(both),
        only_a=only_a,
        only_b=only_b,
        neither=len(pairs) - only_a - only_b - int(both),
        success=_difference(solved, paired_difference(solved, databases, tasks), databases, tasks),
        mcnemar_p=mcnemar_p(only_a, only_b) if pairs else None,
        mcnemar_p_holm=None,
        reward=_difference(paid, reward_difference(solved, paid, databases, tasks), databases, tasks),
    )


def compare_all(attempts: Sequence[Attempt]) -> tuple[Comparison, ...]:
    """Every two policies of a run, corrected."""
    names = list(combinations(policies_of(attempts), 2))
    return corrected([compare(of_policy(attempts, a), of_policy(attempts, b), (a, b)) for a, b in names])


def corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with Holm's correction over all of them, for each test on its own."""
    success = holm([one.success.p for one in comparisons])
    reward = holm([one.reward.p for one in comparisons])
    flipped = holm([one.mcnemar_p for one in comparisons])
    return tuple(
        one.model_copy(
            update={
                "success": one.success.model_copy(update={"p_holm": success[place]}),
                "reward": one.reward.model_copy(update={"p_holm": reward[place]}),
                "mcnemar_p_holm": flipped[place],
            }
        )
        for place, one in enumerate(comparisons)
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction ("A simple sequentially rejective multiple test procedure", 1979); None stays."""
    from statsmodels.stats.multitest import multipletests  # seconds of imports

    known = [value for value in values if value is not None]
    fixed = iter(multipletests(known, method="holm")[1].tolist() if known else ())
    return [None if value is None else float(next(fixed)) for value in values]


def mcnemar_p(only_a: int, only_b: int) -> float:
    """The exact two-sided p of McNemar's test ("Note on the sampling error of the difference …", 1947)."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def flips(pairs: Sequence[Pair], better: str) -> list[Flip]:
    """The pairs that only A (`better` is "a"), or only B ("b"), solved."""
    return [
        Flip(
            task_id=a.task_id,
            database=a.database,
            sample_index=a.sample_index,
            episode_a=a.episode_id,
            episode_b=b.episode_id,
        )
        for a, b in pairs
        if a.success != b.success and (better == "a") == bool(a.success)
    ]


def _difference(
    values: Sequence[tuple[float, float]], delta: Estimate, databases: Sequence[str], tasks: Sequence[str]
) -> Difference:
    """The values of A and B with their difference's interval and test."""
    return Difference(
        a=float(np.mean([a for a, _ in values])) if values else None,
        b=float(np.mean([b for _, b in values])) if values else None,
        delta=delta,
        p=p_value([b - a for a, b in values], databases, tasks),
        p_holm=None,
    )
