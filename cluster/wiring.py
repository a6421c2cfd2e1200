"""Which implementation stands behind each protocol: the only place that names them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import BudgetConfig, RolloutConfig
from cluster.load_metrics import LoadMetrics, timed_storing
from cluster.metrics import RolloutMetrics
from cluster.models import makers_of
from cluster.parcel import pack
from cluster.purse import PurseMeter, RemotePurse
from cluster.remote import DriverFiles, result_of
from cluster.run import RunFolder
from cluster.sink import RemoteSink
from cluster.timed_grading import TimedGrader, timed_verifier_for
from services.contracts.errors import Infrastructure
from services.contracts.policy import AnyPolicy
from services.contracts.trajectory import Trajectory
from services.env_actor.actor import ActorSetup, RemoteEnvActor
from services.env_actor.confinement import ENVIRONMENT
from services.env_actor.fetching import TaskSetAddress
from services.env_actor.taskset import TaskSet

Makers = Mapping[str, Callable[[], AnyPolicy]]


class Delivery:
    """Counts trajectories and hands them to the sink of the node on which it runs."""

    def __init__(self, sinks: Mapping[str, str]) -> None:
        self._names = sinks
        self._sink: Any = None
        self._metrics: RolloutMetrics | None = None

    async def __call__(self, trajectories: Sequence[Trajectory]) -> None:
        """Returns when the trajectories are safe. Raises SinkFault."""
        if self._sink is None or self._metrics is None:
            self._metrics = RolloutMetrics()
            here = ray.get_runtime_context().get_node_id()
            self._sink = ray.get_actor(self._names.get(here) or next(iter(self._names.values())))
        with timed_storing():
            await self._sink.append.remote(pack(trajectories))
        self._metrics.observe(trajectories)


class Fleet:
    """The Ray actors of one run: a sink on every node, the env actors, and a Serve app if the config wants one."""

    def __init__(self, config: RolloutConfig, task_set: TaskSet, run: RunFolder, makers: Makers | None = None) -> None:
        """`makers` make policies that have no name in the registry."""
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        names = {node: f"sink-{run.path.name}-{node}" for node in nodes}
        self.sinks = {node: _sink(run, node, name) for node, name in names.items()}
        ray.get([sink.ready.remote() for sink in self.sinks.values()])
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
            max_task_retries=2,
            runtime_env={"env_vars": ENVIRONMENT},
        )
        delivery = Delivery(names)
        with ExitStack() as opened:
            self._purse = _purse(config, run.path)
            named = makers or makers_of(config, None if self._purse is None else partial(PurseMeter, self._purse))
            policies = _policies(config, named, f"policies-{uuid.uuid4().hex[:12]}", opened)
            verifier = timed_verifier_for if config.verification == "variants" else None
            self.actors = [
                actor.remote(setup, policies, TimedGrader.read, delivery, driver, verifier, LoadMetrics())
                for _ in range(config.actors.count)
            ]
            self._await_placement(config)
            result_of([actor.open.remote() for actor in self.actors])
            self._opened = opened.pop_all()

    def store(self, trajectories: Sequence[Trajectory]) -> None:
        """Store records that the driver itself made (faults)."""
        sink = next(iter(self.sinks.values()))
        ray.get(sink.append.remote(pack(trajectories)))

    def overspent(self) -> str | None:
        """What the budget was and what is spent of it, in words, if a model was not asked for its sake."""
        told: str | None = None if self._purse is None else ray.get(self._purse.close.remote())
        return told

    def close(self) -> None:
        """Turn every log into Parquet, and end the actors and the Serve app."""
        with self._opened:
            self.overspent()
            try:
                result_of([sink.roll.remote() for sink in self.sinks.values()])
            finally:  # a sink that cannot store must not keep its log locked
                for actor in (*self.actors, *self.sinks.values(), *filter(None, [self._purse])):
                    ray.kill(actor)

    def _await_placement(self, config: RolloutConfig) -> None:
        try:
            ray.get([actor.ready.remote() for actor in self.actors], timeout=config.actors.placement_s)
        except GetTimeoutError as error:
            asks = f"{config.actors.count} actors of {config.actors.cpus} CPUs and {config.actors.memory_mb} MB"
            wait = config.actors.placement_s
            has = {key: round(value, 1) for key, value in ray.cluster_resources().items() if key in ("CPU", "memory")}
            raise Infrastructure(f"{asks} were not placed in {wait:.0f} s; the cluster has {has}") from error


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


def _sink(run: RunFolder, node: str, name: str) -> Any:
    return RemoteSink.options(
        name=name,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False),
    ).remote(run.path, f"part-{node[:8]}", run.mirror)
