"""Table work on Ray actors: a bounded number at a time, each with a deadline that ends the process that does it.

Invariant: a verdict, a limit that was hit and a fault are three things. A worker that dies is replaced and its job done
again; only a job that ends its worker ATTEMPTS times is a fault. The clock of a job starts when a worker starts on it.
"""

import asyncio
import os
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from services.contracts.errors import AssayError, Infrastructure
from services.contracts.record import Record
from services.contracts.statements import LimitHit
from services.grader.tables.compare import compare
from services.grader.tables.verdict import Comparison, TableJob

ATTEMPTS = 3
START_SECONDS = 60.0
TableOutcome = Comparison | LimitHit


class TableGrader:
    """Compares tables, one job at a time; plainly in process, or as an actor of the pool."""

    def ready(self) -> int:
        """The process id, once the worker is placed and made."""
        return os.getpid()

    def compare(self, job: TableJob) -> Comparison:
        """The verdict on two tables. Raises BadInput, Infrastructure."""
        return compare(job)


class PoolLimits(Record):
    """What a pool may take."""

    workers: int = 1
    queue: int = 64
    deadline_s: float = 600.0
    cpus: float = 2.0
    memory_mb: int = 4096


class WorkerDied(Exception):
    """A worker's process ended in the middle of a job."""


class GraderPool:
    """Workers on the Ray cluster that is joined. Use it from one event loop, as an async context manager."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.workers)
        self._waiting = 0
        self._idle: list[Any] = []
        self._pids: dict[Any, int] = {}

    async def __aenter__(self) -> "GraderPool":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the workers there are."""
        return tuple(self._pids.values())

    def close(self) -> None:
        """End every worker, whatever it is at."""
        for worker in list(self._pids):
            self._end(worker)
        self._idle.clear()

    async def compare(self, job: TableJob) -> TableOutcome:
        """The verdict on two tables, or the limit that was hit. Raises BadInput, and Infrastructure for a fault."""
        if self._waiting >= self._limits.queue:
            raise Infrastructure(f"the grader pool is full: {self._waiting} comparisons wait already")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._attempts(job)
        finally:
            self._slots.release()

    async def _attempts(self, job: TableJob) -> TableOutcome:
        tries = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS), retry=retry_if_exception_type(WorkerDied), reraise=True
        )
        try:
            outcome: TableOutcome = await tries(self._attempt, job)
        except WorkerDied as error:
            raise Infrastructure(f"a comparison ended its worker {ATTEMPTS} times: {error}") from error
        return outcome

    async def _attempt(self, job: TableJob) -> TableOutcome:
        worker = self._idle.pop() if self._idle else await self._start()
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                found: Comparison = await worker.compare.remote(job)
        except TimeoutError:
            self._end(worker)
            return LimitHit(reason="timeout", message=f"the comparison took more than {self._limits.deadline_s:g} s")
        except RayTaskError as error:
            self._idle.append(worker)
            raise _cause(error) from error
        except RayActorError as error:
            self._end(worker)
            raise WorkerDied(str(error).splitlines()[0]) from error
        except BaseException:  # also cancellation: nobody waits for what the worker is at
            self._end(worker)
            raise
        self._idle.append(worker)
        return found

    async def _start(self) -> Any:
        limits = self._limits
        memory = limits.memory_mb * 1024 * 1024
        worker = RemoteTableGrader.options(num_cpus=limits.cpus, memory=memory, max_restarts=0).remote()
        try:
            async with asyncio.timeout(START_SECONDS):
                self._pids[worker] = await worker.ready.remote()
        except TimeoutError as error:
            ray.kill(worker)
            raise Infrastructure(f"no grader worker was ready within {START_SECONDS:.0f} s") from error
        except RayError as error:
            raise Infrastructure(f"no grader worker could be started: {error}") from error
        return worker

    def _end(self, worker: Any) -> None:
        self._pids.pop(worker, None)
        ray.kill(worker)


def _cause(error: RayTaskError) -> BaseException:
    """The error that the worker raised, if it is one of ours."""
    cause: Any = error.cause
    return cause if isinstance(cause, AssayError) else error


RemoteTableGrader: Any = ray.remote(TableGrader)
