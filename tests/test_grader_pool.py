"""Table work on real Ray actors: verdicts, deadlines that kill, faults that are no verdicts."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.session import ray_session
from services.contracts.errors import BadInput, Infrastructure
from services.contracts.statements import LimitHit
from services.grader.pool import GraderPool, PoolLimits, TableGrader
from services.grader.tables.verdict import Comparison, TableJob

QUICK = PoolLimits(cpus=0.5, memory_mb=256)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_session():
        yield


@pytest.fixture
def table(tmp_path: Path) -> str:
    pq.write_table(pa.table({"id": range(1000)}), tmp_path / "table.parquet")
    return str(tmp_path / "table.parquet")


@pytest.fixture
def stuck(tmp_path: Path) -> str:
    """A file that is never done being read: a pipe into which nobody writes."""
    os.mkfifo(tmp_path / "stuck.parquet")
    return str(tmp_path / "stuck.parquet")


def being_read(pipe: str) -> int:
    """Wait until a process has opened the pipe; our own end of it."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            threading.Event().wait(0.01)
    raise TimeoutError(f"nobody reads {pipe}")


async def gone(pid: int) -> bool:
    """Whether a process, of which it is known that it was ended, does end."""
    await asyncio.to_thread(psutil.wait_procs, [psutil.Process(pid)] if psutil.pid_exists(pid) else [], 20)
    return not psutil.pid_exists(pid)


async def test_the_pool_says_what_the_same_code_says_in_process(table: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": range(1, 1001)}), tmp_path / "other.parquet")
    jobs = [TableJob(left=table, right=right) for right in (table, str(tmp_path / "other.parquet"))]
    async with GraderPool(QUICK) as pool:
        found = await asyncio.gather(*(pool.compare(job) for job in jobs))
        (worker,) = pool.pids
        with pytest.raises(BadInput, match="there is nothing at"):
            await pool.compare(TableJob(left=table, right="none"))
        assert pool.pids == (worker,)
    plain = [TableGrader().compare(job) for job in jobs]
    assert [same_but_time(one) for one in found] == [same_but_time(one) for one in plain]
    assert [one.verdict for one in plain] == ["identical", "different"]


def same_but_time(found: Comparison | LimitHit) -> object:
    return found.model_dump(exclude={"seconds"})


async def test_a_deadline_ends_the_work_and_is_no_verdict(table: str, stuck: str) -> None:
    async with GraderPool(QUICK.model_copy(update={"deadline_s": 0.5})) as pool:
        doing = asyncio.create_task(pool.compare(TableJob(left=table, right=stuck)))
        while not pool.pids:
            await asyncio.sleep(0.01)
        (pid,) = pool.pids
        outcome = await doing
        assert isinstance(outcome, LimitHit)
        assert outcome.reason == "timeout"
        assert await gone(pid)
        assert pool.pids == ()


async def test_a_job_whose_worker_was_killed_is_done_again(table: str, stuck: str) -> None:
    async with GraderPool(QUICK) as pool:
        doing = asyncio.create_task(pool.compare(TableJob(left=table, right=stuck)))
        end = await asyncio.to_thread(being_read, stuck)
        os.unlink(stuck)
        os.link(table, stuck)
        kill(pool)
        outcome = await doing
        os.close(end)
    assert isinstance(outcome, Comparison)
    assert outcome.verdict == "identical"


async def test_a_job_that_ends_every_worker_is_a_fault(table: str, stuck: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.grader.pool.ATTEMPTS", 1)
    async with GraderPool(QUICK) as pool:
        doing = asyncio.create_task(pool.compare(TableJob(left=table, right=stuck)))
        end = await asyncio.to_thread(being_read, stuck)
        kill(pool)
        with pytest.raises(Infrastructure, match="ended its worker 1 times"):
            await doing
        os.close(end)


def kill(pool: GraderPool) -> None:
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)


async def test_what_does_not_fit_the_queue_is_refused_at_once(table: str, stuck: str) -> None:
    async with GraderPool(QUICK.model_copy(update={"queue": 1})) as pool:
        running = asyncio.create_task(pool.compare(TableJob(left=table, right=stuck)))
        end = await asyncio.to_thread(being_read, stuck)
        waiting = asyncio.create_task(pool.compare(TableJob(left=table, right=table)))
        await asyncio.sleep(0)
        with pytest.raises(Infrastructure, match="the grader pool is full"):
            await pool.compare(TableJob(left=table, right=table))
        for task in (running, waiting):
            task.cancel()
        os.close(end)
        assert all(
            isinstance(one, BaseException) for one in await asyncio.gather(running, waiting, return_exceptions=True)
        )
        assert pool.pids == ()
