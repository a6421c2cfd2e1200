"""What a rollout counts for Prometheus, through Ray's own metrics. docs/metrics.md lists them.

Amounts of a batch are added up before they are handed over, as each call takes its time.
"""

import math
import sys
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from ray.util.metrics import Counter

from services.contracts.statements import LimitHit
from services.contracts.trajectory import Step, StepTiming, Trajectory

SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
LEAST = sys.float_info.min
"""The smallest amount that a Ray counter takes: it shows a bucket that is empty, and is lost in the first 1."""


class Buckets:
    """How long things took: how many up to each bound, for `histogram_quantile`, and their exact sum.

    Ray's own histogram has its agent on the node call Python once for each observation, and no exact sum.
    """

    def __init__(self, name: str, description: str, tags: tuple[str, ...] = ()) -> None:
        self._counts = Counter(f"{name}_bucket", f"{description}: how many up to a bound", (*tags, "le"))
        self._sum = Counter(f"{name}_total", f"{description}: the sum", tags)

    def observe(self, seconds: Sequence[float], tags: dict[str, str]) -> None:
        """Count some more."""
        below = np.searchsorted(np.sort(seconds), [*SECONDS, math.inf], side="right")
        for bound, count in zip([*SECONDS, math.inf], below.tolist(), strict=True):
            self._counts.inc(count or LEAST, {**tags, "le": "+Inf" if bound == math.inf else f"{bound:g}"})
        self._sum.inc(sum(seconds) or LEAST, tags)


class RolloutMetrics:
    """Counters of one env actor; Prometheus adds up those of all."""

    def __init__(self) -> None:
        self._episodes = Counter("assay_episodes_total", "Episodes stored", ("policy", "verdict"))
        self._truncations = Counter("assay_truncations_total", "Episodes that a limit ended", ("policy", "reason"))
        self._retries = Counter("assay_episode_retries_total", "Attempts at an episode beyond its first")
        self._faults = Counter("assay_faults_total", "Episodes given up because of broken machinery", ("kind",))
        self._rewards = Counter("assay_rewards_total", "Rewards of episodes, by sign", ("policy", "sign"))
        self._components = Counter(
            "assay_reward_components_total", "Reward components of steps, by sign", ("policy", "component", "sign")
        )
        self._steps = Counter("assay_steps_total", "Steps taken", ("policy", "action"))
        self._tokens = Counter("assay_tokens_total", "Tokens as the model's server counts them", ("policy", "kind"))
        self._statements = Counter("assay_statements_total", "Statements by outcome", ("outcome",))
        self._limits = Counter("assay_statement_limits_total", "Statements that hit a limit", ("reason",))
        self._cached = Counter("assay_cached_statements_total", "Statements answered from the result cache")
        self._step_seconds = Counter("assay_step_seconds_total", "Wall time of all steps", ("policy",))
        self._policy_seconds = Buckets("assay_policy_seconds", "Wall time of a policy's decision", ("policy",))
        self._statement_seconds = Buckets("assay_statement_seconds", "Wall time of a statement that ran")

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Count trajectories that are safe."""
        of_policy = defaultdict(list)
        for trajectory in trajectories:
            of_policy[trajectory.spec.policy].append(trajectory)
        for policy, played in of_policy.items():
            tags = {"policy": policy}
            timed = [(step, timing) for each in played for step, timing in zip(each.steps, each.timings, strict=True)]
            self._count_episodes(played, tags)
            if timed:
                self._count_steps([step for step, _ in timed], tags)
                self._count_times([timing for _, timing in timed], tags)
                self._count_statements(timed)

    def _count_episodes(self, played: Sequence[Trajectory], tags: dict[str, str]) -> None:
        _count(self._episodes, "verdict", Tally(each.verdict for each in played), tags)
        _count(self._faults, "kind", Tally(each.fault.kind for each in played if each.fault is not None), {})
        _count(self._truncations, "reason", Tally(each.truncation for each in played if each.truncation), tags)
        _add(self._retries, sum(each.attempts - 1 for each in played), {})
        _count(self._rewards, "sign", _by_sign([each.reward or 0.0 for each in played]), tags)

    def _count_steps(self, steps: Sequence[Step], tags: dict[str, str]) -> None:
        _count(self._steps, "action", Tally(step.action.kind for step in steps), tags)
        components = [vars(step.components) for step in steps]
        for name in set().union(*components):
            signs = _by_sign([each.get(name, 0.0) for each in components])
            _count(self._components, "sign", signs, {**tags, "component": name})

    def _count_times(self, timings: Sequence[StepTiming], tags: dict[str, str]) -> None:
        policy_s = [timing.policy_ms / 1e3 for timing in timings]
        self._policy_seconds.observe(policy_s, tags)
        _add(self._step_seconds, sum(policy_s) + sum(timing.sandbox_ms for timing in timings) / 1e3, tags)
        _add(self._tokens, sum(timing.prompt_tokens or 0 for timing in timings), {**tags, "kind": "prompt"})
        _add(self._tokens, sum(timing.completion_tokens or 0 for timing in timings), {**tags, "kind": "completion"})

    def _count_statements(self, timed: Sequence[tuple[Step, StepTiming]]) -> None:
        stated = [(step.outcome, timing) for step, timing in timed if step.outcome is not None]
        _count(self._statements, "outcome", Tally(outcome.kind for outcome, _ in stated), {})
        limits = (outcome.reason for outcome, _ in stated if isinstance(outcome, LimitHit))
        _count(self._limits, "reason", Tally(limits), {})
        ran = [timing.sandbox_ms / 1e3 for _, timing in stated if not timing.cached]
        _add(self._cached, len(stated) - len(ran), {})
        self._statement_seconds.observe(ran, {})


def _count(counter: Counter, tag: str, amounts: Mapping[str, float], tags: dict[str, str]) -> None:
    """Each amount under its own value of a tag."""
    for value, amount in amounts.items():
        _add(counter, amount, {**tags, tag: value})


def _add(counter: Counter, amount: float, tags: dict[str, str]) -> None:
    if amount > 0:  # Ray refuses 0
        counter.inc(amount, tags)


def _by_sign(amounts: Sequence[float]) -> dict[str, float]:
    """What is added and what is taken away."""
    signed = np.array(amounts)
    return {"plus": float(signed[signed > 0].sum()), "minus": -float(signed[signed < 0].sum())}
