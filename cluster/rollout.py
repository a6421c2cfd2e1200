"""A rollout from its config to a complete run folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.config import RolloutConfig
from cluster.models import makers_of
from cluster.plan import plan_episodes
from cluster.report import RunReport, write_report
from cluster.run import RunFolder
from cluster.session import check_reachable, ray_session
from services.contracts.errors import BadInput
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.actor import EpisodeSummary
from services.env_actor.taskset import TaskSet
from services.policy.registry import check_plays

OnDone = Callable[[Sequence[EpisodeSummary]], None]
ROUNDS = 3
"""How often a run is played at most for what is missing."""


@dataclass(frozen=True)
class Prepared:
    """A rollout that has been checked and can be started: nothing is written yet."""

    config: RolloutConfig
    task_set: TaskSet
    specs: list[EpisodeSpec]
    limit: int | None


def prepare(config: RolloutConfig, task_set: TaskSet, limit: int | None) -> Prepared:
    """Check everything that a user can get wrong. Raises BadInput."""
    makers_of(config)
    specs = plan_episodes(config, task_set, limit)
    if not specs:
        raise BadInput("there is nothing to play: the task set is empty, or --limit is 0")
    played = [task_set.tasks[spec.task_id] for spec in specs]
    for name in config.policies:
        check_plays(name, {task.environment for task in played})
    task_set.check_databases(task_set.databases_of(played))
    check_reachable()
    return Prepared(config, task_set, specs, limit)


def run_rollout(prepared: Prepared, run: RunFolder, on_done: OnDone) -> RunReport:
    """Play what is not stored yet, and report. Raises Infrastructure if an episode is missing, OverBudget.

    What is then missing was stored on a node that is lost, and is played again.
    """
    left, overspent = _left(prepared, run), None
    for _ in range(ROUNDS):
        overspent = _play(prepared, left, run, on_done) if left else None
        run.gather()
        left = _left(prepared, run)
        if not left or overspent is not None:
            break
    run.check_affordable(prepared.specs, overspent)
    run.check_complete(prepared.specs)
    report = write_report(run)
    run.publish()
    return report


def _left(prepared: Prepared, run: RunFolder) -> list[EpisodeSpec]:
    stored = run.episodes()
    return [spec for spec in prepared.specs if spec.episode_id not in stored]


def _play(prepared: Prepared, specs: Sequence[EpisodeSpec], run: RunFolder, on_done: OnDone) -> str | None:
    """Play the episodes; what the budget was, in words, if it was spent before the end."""
    from cluster.driver import Driver
    from cluster.load_metrics import RunMetrics
    from cluster.wiring import Fleet

    with ray_session():
        metrics = RunMetrics(len(specs))

        def done(summaries: Sequence[EpisodeSummary]) -> None:
            metrics.stored(len(summaries))
            on_done(summaries)

        fleet = Fleet(prepared.config, prepared.task_set, run)
        try:
            Driver(fleet, prepared.task_set, done).drive(specs, prepared.config.actors)
            return fleet.overspent()
        finally:
            fleet.close()
