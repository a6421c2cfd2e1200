"""The driver of a storm: `assay` as a person types it, while a grader pool compares tables on the same Ray cluster.

    python -m tests.storm.session TABLES VERDICTS rollout CONFIG --out URL

Every pair of Parquet files in TABLES is compared again and again; each verdict, or fault, is a line of VERDICTS.
"""

import asyncio
import itertools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported

from cluster import cli, console  # noqa: E402
from cluster.session import ray_session  # noqa: E402
from services.contracts.errors import Infrastructure  # noqa: E402
from services.contracts.statements import LimitHit  # noqa: E402
from services.grader.pool import GraderPool, PoolLimits, TableOutcome  # noqa: E402
from services.grader.tables.verdict import TableJob  # noqa: E402

LIMITS = PoolLimits(cpus=0.1, memory_mb=256)
FAULT = "fault"
PAUSE_S = 1.0
"""Between two comparisons: they are to be hit, and not to take the cores from the run."""


def pairs(tables: Path) -> list[tuple[Path, Path]]:
    return list(itertools.combinations_with_replacement(sorted(tables.glob("*.parquet")), 2))


def verdict_of(outcome: TableOutcome) -> str:
    return outcome.reason if isinstance(outcome, LimitHit) else outcome.verdict


async def compare_all(tables: Path, verdicts: Path, ended: threading.Event) -> None:
    """Compare one pair after the other until told to end, and say what came of each."""
    async with GraderPool(LIMITS) as pool:
        for left, right in itertools.cycle(pairs(tables)):
            if ended.is_set():
                return
            try:
                said = verdict_of(await pool.compare(TableJob(left=str(left), right=str(right))))
            except Infrastructure:
                said = FAULT
            with verdicts.open("a", encoding="utf-8") as file:
                file.write(f"{left.stem} {right.stem} {said}\n")
            await asyncio.to_thread(ended.wait, PAUSE_S)


@contextmanager
def comparing(tables: Path, verdicts: Path) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(compare_all(tables, verdicts, ended)))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main() -> None:
    tables, verdicts = Path(sys.argv[1]), Path(sys.argv[2])
    del sys.argv[1:3]
    console.PLAIN_EVERY_S = 0.0  # a line for each batch that is safe: the storm counts by them
    with ray_session(), comparing(tables, verdicts):
        cli.main()


if __name__ == "__main__":
    main()
