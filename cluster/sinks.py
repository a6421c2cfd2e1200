"""The sinks of a run, one in each env actor: an actor's way to its own, and the driver's care for what is left of them.

An actor that is restarted goes on with its log if it is on the same node. A node that is lost takes with it what was
logged there, unless its disk is shared: the run plays those episodes again.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.load_metrics import timed_storing
from cluster.metrics import RolloutMetrics
from cluster.remote import result_of
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.sink import Sink, recover
from services.contracts.trajectory import Trajectory

_LOG = logging.getLogger(__name__)
_LOST = (NodeDiedError, TaskUnschedulableError, WorkerCrashedError)


class Delivery:
    """Makes an env actor's trajectories durable on the node where it runs, and counts them."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run.path.resolve()
        self._mirror = run.mirror
        self._birth = run.birth
        self._sink: Sink | None = None
        self._metrics: RolloutMetrics | None = None
        self._writer: ThreadPoolExecutor | None = None

    async def __call__(self, trajectories: Sequence[Trajectory]) -> None:
        """Returns when the trajectories are safe. Raises SinkFault."""
        if self._metrics is None or self._writer is None:
            self._metrics, self._writer = RolloutMetrics(), ThreadPoolExecutor(1)
        with timed_storing():
            rows = to_table(trajectories)
            await asyncio.get_running_loop().run_in_executor(self._writer, self._append, rows)
        self._metrics.observe(rows)

    def _append(self, rows: pa.Table) -> None:
        """In the one thread that writes: the disk may be slow, and the episodes go on."""
        if self._sink is None:
            here = ray.get_runtime_context()
            name = name_of(self._birth, here.get_node_id(), str(here.get_actor_id()))
            self._sink = Sink(self._run, name, self._mirror)
        self._sink.append(rows)


class Sinks:
    """Looks after what sinks have logged and not turned into Parquet when they ended: before a run and after it."""

    def __init__(self, run: RunFolder) -> None:
        """Raises SinkFault."""
        self._run = run
        self._home = ray.get_runtime_context().get_node_id()
        self._nodes = _alive()
        self._recover(self._nodes)

    def store(self, trajectories: Sequence[Trajectory]) -> None:
        """Store records that the driver itself made (faults). Raises SinkFault."""
        with closing(Sink(self._run.path, f"part-{self._run.birth}-driver", self._run.mirror)) as sink:
            sink.append(to_table(trajectories))

    def close(self) -> None:
        """Turn every log into Parquet, but those of lost nodes; the env actors have ended. Raises SinkFault."""
        alive = _alive()
        for node in self._nodes - alive:
            self._warn(node)
        self._recover(alive)

    def _recover(self, nodes: Iterable[str]) -> None:
        """With a mirror the nodes have folders of their own; then, on the driver's node, all that is there."""
        others = [] if self._run.mirror is None else [node for node in nodes if node != self._home]
        recovering = {node: _recovering(self._run, node) for node in others}
        for node, reference in recovering.items():
            try:
                result_of(reference)
            except _LOST:
                self._warn(node)
        recover(self._run.path, self._run.mirror)

    def _warn(self, node: str) -> None:
        _LOG.warning("node %s of run %s is lost; what only it had stored is played again", node, self._run.where)


def _alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


def name_of(birth: str, node: str, actor: str) -> str:
    """Of the sink of an env actor; the same when the actor is restarted on its node."""
    return f"part-{birth}-{node[:8]}-{actor[:12]}"


def _recovering(run: RunFolder, node: str) -> Any:
    """The work of a node on what its own sinks left of this run; what a run before it left there is not its own."""
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    recover_there = RemoteRecover.options(num_cpus=0, scheduling_strategy=there)
    return recover_there.remote(run.path, run.mirror, name_of(run.birth, node, "*"))


RemoteRecover: Any = ray.remote(recover)
