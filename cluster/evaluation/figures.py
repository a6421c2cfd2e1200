"""What one policy came to, over all its episodes or a slice of them. Faulted episodes are counted, never averaged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import comb
from types import MappingProxyType
from typing import Literal

import numpy as np
from pydantic import Field

from cluster.evaluation.attempts import Attempt, of_policy, policies_of
from cluster.evaluation.combined import rewards
from cluster.evaluation.intervals import Estimate, rate
from services.contracts.grading import COMPONENTS_OF
from services.contracts.policy import Price
from services.contracts.record import Record
from services.grader.gold import AnswerType

MILLION = 1e6
Prices = Mapping[str, Price]
NO_PRICES: Prices = MappingProxyType({})
Dimension = Literal["all", "environment", "task_set", "database", "difficulty", "answer_type"]
DIMENSIONS: tuple[Dimension, ...] = ("environment", "task_set", "database", "difficulty", "answer_type")


class Latency(Record):
    """Milliseconds of wall time an episode: median and 99th percentile, and means of what it spent waiting for."""

    p50_ms: float
    p99_ms: float
    policy_ms: float
    sandbox_ms: float


class Spending(Record):
    """Means over the episodes that say what they took: tokens read and written, and US dollars if there is a price."""

    episodes: int
    prompt_tokens: float
    completion_tokens: float
    usd: float | None


class Figures(Record):
    """One policy on one slice. `success`, `reward`, `components` and `steps` are over graded episodes."""

    policy: str
    dimension: Dimension
    value: str
    episodes: int
    graded: int
    faulted: int
    tasks: int
    success: Estimate
    pass_at: dict[int, Estimate]
    reward: Estimate
    components: dict[str, float]
    steps: float | None
    latency: Latency
    spending: Spending | None = Field(default=None, description="None of a policy that counts no tokens")
    verdicts: dict[str, int]
    truncations: dict[str, int]
    faults: dict[str, int]
    violations: int


def overall(attempts: Sequence[Attempt], prices: Prices = NO_PRICES) -> tuple[Figures, ...]:
    """The figures of every policy over all its episodes."""
    return tuple(figures(of_policy(attempts, policy), "all", "all", prices) for policy in policies_of(attempts))


def sliced(
    attempts: Sequence[Attempt], task_set: str, answer_types: Mapping[str, AnswerType], prices: Prices
) -> tuple[Figures, ...]:
    """The figures of every policy on each slice of each dimension. `answer_types` is by task id."""
    groups: dict[tuple[str, Dimension, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        for dimension, value in _places(attempt, task_set, answer_types):
            groups[attempt.policy, dimension, value].append(attempt)
    return tuple(
        figures(group, dimension, value, prices)
        for (_, dimension, value), group in sorted(
            groups.items(), key=lambda item: (item[0][0], DIMENSIONS.index(item[0][1]), item[0][2])
        )
    )


def figures(attempts: Sequence[Attempt], dimension: Dimension, value: str, prices: Prices = NO_PRICES) -> Figures:
    """The figures of some episodes of one policy, at least one."""
    graded = [attempt for attempt in attempts if attempt.graded]
    databases, tasks = [attempt.database for attempt in graded], [attempt.task_id for attempt in graded]
    successes = [attempt.success for attempt in graded]
    return Figures(
        policy=attempts[0].policy,
        dimension=dimension,
        value=value,
        episodes=len(attempts),
        graded=len(graded),
        faulted=len(attempts) - len(graded),
        tasks=len({attempt.task_id for attempt in attempts}),
        success=rate(successes, databases, tasks),
        pass_at=_pass_at(graded),
        reward=rewards(successes, [attempt.reward or 0.0 for attempt in graded], databases, tasks),
        components=_component_means(graded),
        steps=float(np.mean([attempt.step_count for attempt in graded])) if graded else None,
        latency=_latency(attempts),
        spending=_spending(attempts, prices),
        verdicts=_counted(attempt.verdict for attempt in attempts),
        truncations=_counted(attempt.truncation for attempt in attempts),
        faults=_counted(attempt.fault_kind for attempt in attempts),
        violations=sum(attempt.violations for attempt in attempts),
    )


def _component_means(graded: Sequence[Attempt]) -> dict[str, float]:
    """The mean of each component of the environments that were played; one that an episode cannot have counts 0.

    Attempts that were published before a component was there lack the last of them.
    """
    if not graded:
        return {}
    played = {attempt.environment for attempt in graded}
    names = [name for place, own in COMPONENTS_OF.items() if place in played for name in own]
    earned = [dict(zip(COMPONENTS_OF[one.environment], one.components, strict=False)) for one in graded]
    sums = np.array([[parts.get(name, 0.0) for name in names] for parts in earned])
    return dict(zip(names, sums.mean(axis=0).tolist(), strict=True))


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that one of k samples is right, drawn without replacement from `samples`, of which `correct` are.

    The unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), §2.1. Takes
    1 <= k <= samples.
    """
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def _pass_at(graded: Sequence[Attempt]) -> dict[int, Estimate]:
    """pass@k for k = 1, 2, 4 … and the most samples of a task, each over the tasks that have k graded samples."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for attempt in graded:
        groups[attempt.database, attempt.task_id].append(attempt.success)
    most = max(map(len, groups.values()), default=0)
    found = {}
    for k in sorted({most, *(2**power for power in range(most.bit_length()))} if most else ()):
        kept = {key: group for key, group in groups.items() if len(group) >= k}
        chances = [pass_at_k(len(group), int(sum(group)), k) for group in kept.values()]
        found[k] = rate(chances, [database for database, _ in kept], [task for _, task in kept])
    return found


def _latency(attempts: Sequence[Attempt]) -> Latency:
    p50, p99 = np.quantile([attempt.wall_ms for attempt in attempts], (0.5, 0.99))
    return Latency(
        p50_ms=float(p50),
        p99_ms=float(p99),
        policy_ms=float(np.mean([attempt.policy_ms for attempt in attempts])),
        sandbox_ms=float(np.mean([attempt.sandbox_ms for attempt in attempts])),
    )


def _spending(attempts: Sequence[Attempt], prices: Prices) -> Spending | None:
    counts = [
        (attempt.prompt_tokens, attempt.completion_tokens or 0)
        for attempt in attempts
        if attempt.prompt_tokens is not None
    ]
    if not counts:
        return None
    prompt, completion = np.mean(np.array(counts), axis=0).tolist()
    price = prices.get(attempts[0].policy)
    usd = None if price is None else (prompt * price.prompt + completion * price.completion) / MILLION
    return Spending(episodes=len(counts), prompt_tokens=prompt, completion_tokens=completion, usd=usd)


def _counted(words: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(word for word in words if word is not None).items()))


def _places(attempt: Attempt, task_set: str, answer_types: Mapping[str, AnswerType]) -> list[tuple[Dimension, str]]:
    return [
        ("environment", attempt.environment),
        ("task_set", task_set),
        ("database", attempt.database),
        ("difficulty", attempt.difficulty),
        ("answer_type", answer_types[attempt.task_id]),
    ]
