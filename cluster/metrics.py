"""What a rollout counts for Prometheus, through Ray's own metrics. docs/metrics.md lists them."""

from collections.abc import Sequence

from ray.util.metrics import Counter, Histogram

from services.contracts.trajectory import Trajectory

STEP_BOUNDARIES_S = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]


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
        """Count trajectories that are about to be stored."""
        for trajectory in trajectories:
            self._observe_one(trajectory)

    def _observe_one(self, trajectory: Trajectory) -> None:
        policy = {"policy": trajectory.spec.policy}
        self._episodes.inc(1, {**policy, "verdict": trajectory.verdict})
        if trajectory.fault is not None:
            self._faults.inc(1, {"kind": trajectory.fault.kind})
        for step, timing in zip(trajectory.steps, trajectory.timings, strict=True):
            seconds = (timing.policy_ms + timing.sandbox_ms) / 1e3
            self._steps.inc(1, {**policy, "action": step.action.kind})
            self._step_time.observe(seconds, policy)
            if seconds > 0:
                self._step_seconds.inc(seconds, policy)
            if step.outcome is not None:
                self._statements.inc(1, {"outcome": step.outcome.kind})
            if timing.cached:
                self._cached.inc(1)
