"""What a rollout counts for Prometheus, through Ray's own metrics. docs/metrics.md lists them.

Amounts of a batch are added up before they are handed over, and counters are exact; a Ray histogram has exact buckets,
but an approximate sum, so seconds are counted beside it.
"""

from collections import defaultdict
from collections.abc import Sequence

from ray.util.metrics import Counter, Histogram

from services.contracts.statements import LimitHit, StatementOutcome
from services.contracts.trajectory import StepTiming, Trajectory

SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
Totals = defaultdict[tuple[Counter, tuple[str, ...]], float]
"""Amounts to count, by counter and the values of its tags."""


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
        self._policy_seconds = Counter("assay_policy_seconds_total", "Wall time of all decisions", ("policy",))
        self._statement_seconds = Counter("assay_statement_seconds_total", "Wall time of all statements that ran")
        self._policy_time = Histogram("assay_policy_seconds", "Wall time of a policy's decision", SECONDS, ("policy",))
        self._statement_time = Histogram("assay_statement_seconds", "Wall time of a statement that ran", SECONDS)

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Count trajectories that are safe: one call of a counter a batch, since each takes its time."""
        totals: Totals = defaultdict(float)
        for trajectory in trajectories:
            self._add_episode(trajectory, totals)
            self._add_steps(trajectory, totals)
        for (counter, tags), amount in totals.items():
            if amount > 0:
                counter.inc(amount, dict(zip(counter.info["tag_keys"], tags, strict=True)))

    def _add_episode(self, trajectory: Trajectory, totals: Totals) -> None:
        policy = trajectory.spec.policy
        totals[self._episodes, (policy, trajectory.verdict)] += 1
        if trajectory.fault is not None:
            totals[self._faults, (trajectory.fault.kind,)] += 1
        if trajectory.truncation is not None:
            totals[self._truncations, (policy, trajectory.truncation)] += 1
        if trajectory.attempts > 1:
            totals[self._retries, ()] += trajectory.attempts - 1
        if trajectory.reward:
            totals[self._rewards, (policy, _sign(trajectory.reward))] += abs(trajectory.reward)

    def _add_steps(self, trajectory: Trajectory, totals: Totals) -> None:
        policy = trajectory.spec.policy
        tags = {"policy": policy}
        policy_s = sandbox_s = 0.0
        for step, timing in zip(trajectory.steps, trajectory.timings, strict=True):
            totals[self._steps, (policy, step.action.kind)] += 1
            self._policy_time.observe(timing.policy_ms / 1e3, tags)
            policy_s += timing.policy_ms / 1e3
            sandbox_s += timing.sandbox_ms / 1e3
            for name, amount in vars(step.components).items():
                if amount:
                    totals[self._components, (policy, name, _sign(amount))] += abs(amount)
            if step.outcome is not None:
                self._add_statement(step.outcome, timing, totals)
            if timing.prompt_tokens or timing.completion_tokens:
                totals[self._tokens, (policy, "prompt")] += timing.prompt_tokens or 0
                totals[self._tokens, (policy, "completion")] += timing.completion_tokens or 0
        totals[self._policy_seconds, (policy,)] += policy_s
        totals[self._step_seconds, (policy,)] += policy_s + sandbox_s

    def _add_statement(self, outcome: StatementOutcome, timing: StepTiming, totals: Totals) -> None:
        totals[self._statements, (outcome.kind,)] += 1
        if isinstance(outcome, LimitHit):
            totals[self._limits, (outcome.reason,)] += 1
        if timing.cached:
            totals[self._cached, ()] += 1
        else:
            self._statement_time.observe(timing.sandbox_ms / 1e3)
            totals[self._statement_seconds, ()] += timing.sandbox_ms / 1e3


def _sign(amount: float) -> str:
    return "plus" if amount > 0 else "minus"
