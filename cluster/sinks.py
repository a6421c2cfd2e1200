"""The sinks of a run, one on each node: the driver's side of them, and the way of a trajectory to the nearest one.

A node that joins later has none; its trajectories go to the driver's node. A node that is lost takes with it what its
sink had logged, unless its disk is shared: the run plays those episodes again.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.load_metrics import timed_storing
from cluster.metrics import RolloutMetrics
from cluster.parcel import pack, pack_table
from cluster.remote import result_of
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.sink import RemoteSink
from services.contracts.trajectory import Trajectory

_LOG = logging.getLogger(__name__)


class Sinks:
    """The sinks on all nodes that are alive now, and have stored what sinks before them had logged."""

    def __init__(self, run: RunFolder) -> None:
        """Raises SinkFault."""
        self._run = run
        self.home = ray.get_runtime_context().get_node_id()
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        self._sinks = {node: _sink(run, node) for node in nodes}
        result_of([sink.ready.remote() for sink in self._sinks.values()])

    def store(self, trajectories: Sequence[Trajectory]) -> None:
        """Store records that the driver itself made (faults). Raises SinkFault."""
        result_of(self._sinks[self.home].append.remote(pack(trajectories)))

    def close(self) -> None:
        """Turn every log into Parquet, and end the sinks but those of lost nodes. Raises SinkFault."""
        rolled = {node: sink.roll.remote() for node, sink in self._sinks.items()}
        try:
            for node, reference in rolled.items():
                try:
                    result_of(reference)
                except ActorUnschedulableError:
                    _LOG.warning(
                        "node %s of run %s is lost; what only it had stored is played again", node, self._run.where
                    )
        finally:  # a sink that cannot store must not keep its log locked
            for sink in self._sinks.values():
                ray.kill(sink)


class Delivery:
    """Counts trajectories and hands them to the sink of the node on which it runs."""

    def __init__(self, run: str, home: str) -> None:
        """`run` is the folder's name, `home` the driver's node."""
        self._run = run
        self._home = home
        self._sink: Any = None
        self._metrics: RolloutMetrics | None = None

    async def __call__(self, trajectories: Sequence[Trajectory]) -> None:
        """Returns when the trajectories are safe. Raises SinkFault."""
        if self._sink is None or self._metrics is None:
            self._metrics = RolloutMetrics()
            self._sink = self._nearest()
        with timed_storing():
            rows = to_table(trajectories)
            await self._sink.append.remote(pack_table(rows))
        self._metrics.observe(rows)

    def _nearest(self) -> Any:
        with suppress(ValueError):  # a node that joined after the sinks were made
            return ray.get_actor(_name(self._run, ray.get_runtime_context().get_node_id()))
        return ray.get_actor(_name(self._run, self._home))


def _name(run: str, node: str) -> str:
    return f"sink-{run}-{node}"


def _sink(run: RunFolder, node: str) -> Any:
    return RemoteSink.options(
        name=_name(run.path.name, node),
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False),
    ).remote(run.path, f"part-{node[:8]}", run.mirror)
