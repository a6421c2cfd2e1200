"""What a rollout counts for Prometheus, through Ray's own metrics. docs/metrics.md lists them.

Amounts of a batch are added up column by column before they are handed over, as each call takes its time.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from ray.util.metrics import Counter

from services.contracts.grading import ALL_COMPONENTS
from services.contracts.statements import LimitHit, Refused

SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
LEAST = sys.float_info.min
"""The smallest amount that a Ray counter takes: it shows a bucket that is empty, and is lost in the first 1."""
_LIMITS = frozenset(get_args(LimitHit.model_fields["reason"].annotation))
_REFUSALS = frozenset(get_args(Refused.model_fields["reason"].annotation))
_KIND = dict.fromkeys(_LIMITS, "limit") | dict.fromkeys(_REFUSALS, "refused")
"""The kind of outcome that a word of the rows stands for; others say it themselves."""


class Buckets:
    """How long things took: how many up to each bound, for `histogram_quantile`, and their exact sum.

    Ray's own histogram has its agent on the node call Python once for each observation, and no exact sum.
    """

    def __init__(self, name: str, description: str, tags: tuple[str, ...] = ()) -> None:
        self._counts = Counter(f"{name}_bucket", f"{description}: how many up to a bound", (*tags, "le"))
        self._sum = Counter(f"{name}_total", f"{description}: the sum", tags)

    def observe(self, seconds: NDArray[np.float64], tags: dict[str, str]) -> None:
        """Count some more."""
        below = np.searchsorted(np.sort(seconds), [*SECONDS, math.inf], side="right")
        for bound, count in zip([*SECONDS, math.inf], below.tolist(), strict=True):
            self._counts.inc(count or LEAST, {**tags, "le": "+Inf" if bound == math.inf else f"{bound:g}"})
        self._sum.inc(float(seconds.sum()) or LEAST, tags)


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

    def observe(self, rows: pa.Table) -> None:
        """Count trajectories that are safe: rows of cluster.schema.SCHEMA."""
        policies = rows["policy"].unique().to_pylist()
        for policy in policies:
            played = rows if len(policies) == 1 else rows.filter(pc.equal(rows["policy"], policy))
            tags = {"policy": policy}
            self._count_episodes(played, tags)
            steps, timings = played["steps"].combine_chunks().flatten(), played["timings"].combine_chunks()
            if len(steps):
                self._count_steps(steps, tags)
                self._count_times(timings, tags)
                self._count_statements(steps.field("outcome"), timings)

    def _count_episodes(self, played: pa.Table, tags: dict[str, str]) -> None:
        _count(self._episodes, "verdict", _tally(played["verdict"]), tags)
        _count(self._faults, "kind", _tally(played["fault_kind"]), {})
        _count(self._truncations, "reason", _tally(played["truncation"]), tags)
        _add(self._retries, pc.sum(pc.struct_field(played["timings"], "attempts")).as_py() - len(played), {})
        _count(self._rewards, "sign", _by_sign(played["reward"].combine_chunks()), tags)

    def _count_steps(self, steps: pa.StructArray, tags: dict[str, str]) -> None:
        _count(self._steps, "action", _tally(steps.field("action")), tags)
        for name in ALL_COMPONENTS:
            _count(self._components, "sign", _by_sign(steps.field(name)), {**tags, "component": name})

    def _count_times(self, timings: pa.StructArray, tags: dict[str, str]) -> None:
        policy_s = _seconds(timings, "policy_ms")
        self._policy_seconds.observe(policy_s, tags)
        _add(self._step_seconds, float(policy_s.sum() + _seconds(timings, "sandbox_ms").sum()), tags)
        for kind in ("prompt", "completion"):
            _add(self._tokens, pc.sum(timings.field(f"{kind}_tokens").flatten()).as_py() or 0, {**tags, "kind": kind})

    def _count_statements(self, outcomes: pa.StringArray, timings: pa.StructArray) -> None:
        words = _tally(outcomes)
        for word, amount in words.items():
            self._statements.inc(amount, {"outcome": _KIND.get(word, word)})
        _count(self._limits, "reason", {word: words[word] for word in words.keys() & _LIMITS}, {})
        cached = timings.field("cached").flatten().to_numpy(zero_copy_only=False)
        stated = outcomes.is_valid().to_numpy(zero_copy_only=False)
        _add(self._cached, int((stated & cached).sum()), {})
        self._statement_seconds.observe(_seconds(timings, "sandbox_ms")[stated & ~cached], {})


def _tally(words: Any) -> dict[str, int]:
    """How often each word is there; NULL is none."""
    return {each["values"]: each["counts"] for each in words.drop_null().value_counts().to_pylist()}


def _seconds(timings: pa.StructArray, name: str) -> NDArray[np.float64]:
    """Of all steps, from milliseconds."""
    seconds: NDArray[np.float64] = timings.field(name).flatten().to_numpy() / 1e3
    return seconds


def _count(counter: Counter, tag: str, amounts: Mapping[str, float], tags: dict[str, str]) -> None:
    """Each amount under its own value of a tag."""
    for value, amount in amounts.items():
        _add(counter, amount, {**tags, tag: value})


def _add(counter: Counter, amount: float, tags: dict[str, str]) -> None:
    if amount > 0:  # Ray refuses 0
        counter.inc(amount, tags)


def _by_sign(amounts: pa.DoubleArray) -> dict[str, float]:
    """What is added and what is taken away; NULL is neither."""
    signed = amounts.drop_null().to_numpy()
    return {"plus": float(signed[signed > 0].sum()), "minus": -float(signed[signed < 0].sum())}
