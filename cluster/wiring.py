"""Which implementation stands behind each protocol: the only place that names them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, assert_never

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import ActorsConfig, BudgetConfig, RolloutConfig
from cluster.load_metrics import LoadMetrics
from cluster.models import makers_of
from cluster.purse import PurseMeter, RemotePurse
from cluster.remote import DriverFiles, result_of
from cluster.run import RunFolder
from cluster.session import check_head
from cluster.sinks import Delivery, Sinks
from cluster.timed_grading import TimedGrader, timed_verifier_for
from services.contracts.errors import Infrastructure
from services.contracts.policy import AnyPolicy
from services.contracts.trajectory import Trajectory
from services.env_actor.actor import RemoteEnvActor
from services.env_actor.confinement import ENVIRONMENT
from services.env_actor.fetching import TaskSetAddress
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet

LOOK_S = 5.0
"""How often the head is looked for while no actor answers; Ray ends a driver that has had none for a minute."""
Makers = Mapping[str, Callable[[], AnyPolicy]]


class Fleet:
    """The Ray actors of one run: the env actors, a sink in each, and a Serve app if the config wants one."""

    def __init__(self, config: RolloutConfig, task_set: TaskSet, run: RunFolder, makers: Makers | None = None) -> None:
        """`makers` make policies that have no name in the registry."""
        folder = task_set.folder.resolve()
        address = TaskSetAddress(
            folder=folder, task_set_hash=task_set.manifest.task_set_hash(), source=config.tasks.path
        )
        setup = ActorSetup(
            task_set=address,
            limits=config.limits,
            sandbox=config.sandbox,
            episodes_at_once=config.actors.episodes_at_once,
            confined=True,
        )
        driver = DriverFiles(folder, ray.get_runtime_context().get_node_id())
        actor = RemoteEnvActor.options(
            num_cpus=config.actors.cpus,
            memory=config.actors.memory_mb * 1024 * 1024,
            max_restarts=-1,
            runtime_env={"env_vars": ENVIRONMENT},
        )
        self._asked = config.actors
        delivery = Delivery(run)
        with ExitStack() as opened:
            self._purse = _purse(config, run.path)
            named = makers or makers_of(config, None if self._purse is None else partial(PurseMeter, self._purse))
            policies = _policies(config, named, f"policies-{uuid.uuid4().hex[:12]}", opened)
            verifier = timed_verifier_for if config.verification == "variants" else None
            self.actors = [
                actor.remote(setup, policies, TimedGrader.read, delivery, driver, verifier, LoadMetrics())
                for _ in range(config.actors.count)
            ]
            self.placed = self._await_placement(config.actors)
            self._sinks = Sinks(run)
            opening = {actor.open.remote(): actor for actor in self.actors}
            self.joining = {reference: actor for reference, actor in opening.items() if actor not in self.placed}
            waiting = list(opening.keys() - self.joining.keys())
            while waiting:
                reference = self.first(waiting, playing=True)
                result_of(reference)
                waiting.remove(reference)
            self._opened = opened.pop_all()

    def store(self, trajectories: Sequence[Trajectory]) -> None:
        """Store records that the driver itself made (faults). Raises SinkFault."""
        self._sinks.store(trajectories)

    def first(self, references: Sequence[Any], playing: bool) -> Any:
        """The first of the actors' replies. If no actor is `playing`, one has to come in the time for placement.

        Raises Infrastructure if none does, or the head is lost.
        """
        patience_s = inf if playing else self._asked.placement_s
        while patience_s > 0:
            done, _ = ray.wait(list(references), num_returns=1, timeout=min(LOOK_S, patience_s))
            if done:
                return done[0]
            check_head()
            patience_s -= LOOK_S
        raise Infrastructure(f"no actor had a place for {self._asked.placement_s:.0f} s; {_needs(self._asked)}")

    def overspent(self) -> str | None:
        """What the budget was and what is spent of it, in words, if a model was not asked for its sake."""
        told: str | None = None if self._purse is None else ray.get(self._purse.close.remote())
        return told

    def close(self) -> None:
        """Turn every log into Parquet, and end the actors and the Serve app. Raises Infrastructure, SinkFault."""
        check_head()  # a call of an actor would wait for it
        with self._opened:
            self.overspent()
            for actor in (*self.actors, *filter(None, [self._purse])):
                ray.kill(actor)
            self._sinks.close()

    def _await_placement(self, asked: ActorsConfig) -> list[Any]:
        """The actors that are placed, once they are enough. Raises Infrastructure if they are not by the deadline."""
        least = asked.count if asked.least is None else asked.least
        waiting = {actor.ready.remote(): actor for actor in self.actors}
        done, _ = ray.wait(list(waiting), num_returns=least, timeout=asked.placement_s)
        result_of(done)
        if len(done) < least:
            came = f"{len(done)} of the {least} actors that the run begins with were placed"
            raise Infrastructure(f"{came} in {asked.placement_s:.0f} s; {_needs(asked)}")
        return [waiting[reference] for reference in done]


def _needs(asked: ActorsConfig) -> str:
    """What each actor asks for, and what nobody has of the cluster, in words."""
    free, nodes = ray.available_resources(), len(ray.nodes())
    there = f"{free.get('CPU', 0):.1f} CPUs and {free.get('memory', 0) / 2**20:.0f} MB on {nodes} nodes"
    return f"each asks for {asked.cpus} CPUs and {asked.memory_mb} MB, free is {there}"


def _policies(config: RolloutConfig, makers: Makers, app: str, opened: ExitStack) -> Makers:
    """What makes each policy in an env actor. A Serve app that this takes is closed with `opened`."""
    if config.policy_access == "inline":
        return makers
    from cluster.serving import serve_on_loopback, serve_to_handles

    match config.policy_access:
        case "handle":
            from services.policy.handle import HandlePolicy

            opened.enter_context(serve_to_handles(makers, app))
            return {name: partial(HandlePolicy, app, name) for name in makers}
        case "http":
            from services.policy.remote import OpenAIPolicy

            url = opened.enter_context(serve_on_loopback(makers, app))
            return {name: partial(OpenAIPolicy, url, name) for name in makers}
        case _:
            assert_never(config.policy_access)


def _purse(config: RolloutConfig, run: Path) -> Any:
    """The purse on the driver's node, where the run folder is; None for a run without a budget."""
    if config.budget == BudgetConfig():
        return None
    here = ray.get_runtime_context().get_node_id()
    return RemotePurse.options(
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=20_000,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=here, soft=False),
    ).remote(config.budget, config.prices, run.resolve())
