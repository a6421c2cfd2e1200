"""What a rollout counts for Prometheus, through Ray's own metrics. docs/metrics.md lists them."""

from collections import defaultdict
from collections.abc import Sequence

from ray.util.metrics import Counter, Histogram

from services.contracts.trajectory import Trajectory

STEP_BOUNDARIES_S = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]


Totals = defaultdict[tuple[Counter, tuple[tuple[str, str], ...]], float]
"""Amounts to count, by counter and tags."""


class RolloutMetrics:
    """Counters of one env actor; Prometheus adds up those of all."""

    def __init__(self) -> None:
        self._episodes = Counter("assay_episodes_total", "Episodes stored", ("policy", "verdict"))
        self._steps = Counter("assay_steps_total", "Steps taken", ("policy", "action"))
        self._statements = Counter("assay_statements_total", "Statements by outcome", ("outcome",))
        self._cached = Counter("assay_cached_statements_total", "Statements answered from the result cache")
        self._faults = Counter("assay_faults_total", "Episodes given up because of broken machinery", ("kind",))
        self._step_time = Histogram("assay_step_seconds", "Wall time of a step", STEP_BOUNDARIES_S, ("policy",))
        self._step_seconds = Counter("assay_step_seconds_total", "Wall time of all steps, exactly", ("policy",))

    def observe(self, trajectories: Sequence[Trajectory]) -> None:
        """Count trajectories that are about to be stored: one call of a counter a batch, since each takes its time."""
        totals: Totals = defaultdict(float)
        for trajectory in trajectories:
            self._add_up(trajectory, totals)
        for (counter, tags), amount in totals.items():
            counter.inc(amount, dict(tags))

    def _add_up(self, trajectory: Trajectory, totals: Totals) -> None:
        policy = ("policy", trajectory.spec.policy)
        totals[self._episodes, (policy, ("verdict", trajectory.verdict))] += 1
        if trajectory.fault is not None:
            totals[self._faults, (("kind", trajectory.fault.kind),)] += 1
        for step, timing in zip(trajectory.steps, trajectory.timings, strict=True):
            seconds = (timing.policy_ms + timing.sandbox_ms) / 1e3
            totals[self._steps, (policy, ("action", step.action.kind))] += 1
            self._step_time.observe(seconds, {"policy": trajectory.spec.policy})
            if seconds > 0:
                totals[self._step_seconds, (policy,)] += seconds
            if step.outcome is not None:
                totals[self._statements, (("outcome", step.outcome.kind),)] += 1
            if timing.cached:
                totals[self._cached, ()] += 1
