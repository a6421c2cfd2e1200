"""Statements that the doctor runs: what must be refused is, what must be stopped is, and honest work goes through."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from cluster.doctor.checks import Check, judged
from services.contracts.statements import LimitHit, Refused, ResultTable, StatementOutcome
from services.env_actor.catalog import TableCatalog, quoted
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

LIMITS = SandboxLimits(statement_s=1.0, kill_grace_s=0.5, children=1, cache_mb=0)
OVER_S = 1.0
"""How much longer than its limit a statement may last before it counts as not stopped."""
_BROKEN = "the guard let it through: update Assay, and until then run no policy that you do not trust"
_NOT_STOPPED = "try again while the machine is idle; if it stays so, run no policy that you do not trust"
_HONEST = "look at the sandbox rows above and mend those first"


@dataclass(frozen=True)
class Probe:
    """A statement, what the row about it is called, and the limit that it is to run into if it is let through."""

    name: str
    sql: str
    limit: Literal["timeout", "memory"] = "timeout"


FORBIDDEN = (
    Probe("a file read is refused", "SELECT * FROM read_text('/etc/passwd')"),
    Probe("a file as a table is refused", "SELECT * FROM '/etc/passwd'"),
    Probe("a file write is refused", "COPY (SELECT 1) TO '/tmp/assay-doctor.csv'"),
    Probe("ATTACH is refused", "ATTACH ':memory:' AS other"),
    Probe("a setting is refused", "SET memory_limit = '64GB'"),
    Probe("an extension is refused", "INSTALL httpfs"),
    Probe("two statements are refused", "SELECT 1; SELECT 2"),
)
_HUGE = "range(1000000)"
RUNAWAY = (
    Probe("a runaway join is stopped", f"SELECT count(*) FROM {_HUGE} a(i), {_HUGE} b(j) WHERE i * j % 7 = 8"),
    Probe("a runaway function is stopped", "SELECT levenshtein(repeat('ab', 50000), repeat('ba', 50000))"),
    Probe("a memory bomb is stopped", "SELECT list_sum(range(1000000000))", "memory"),
)


async def probe(pool: SandboxPool, database: str, table: TableCatalog) -> AsyncIterator[Check]:
    """A row for each statement; the honest one comes first and again after all the others."""
    yield await _honest(pool, database, table, "an honest SELECT works")
    for forbidden in FORBIDDEN:
        outcome, _ = await pool.run(database, forbidden.sql)
        yield _row(forbidden.name, isinstance(outcome, Refused), _told(outcome), _BROKEN)
    for runaway in RUNAWAY:
        yield await _stopped(pool, database, runaway)
    yield await _honest(pool, database, table, "an honest SELECT works after them")


async def _honest(pool: SandboxPool, database: str, table: TableCatalog, name: str) -> Check:
    outcome, _ = await pool.run(database, f"SELECT count(*) FROM {quoted(table.name)}")
    right = isinstance(outcome, ResultTable) and outcome.rows == [[table.row_count]]
    return _row(name, right, f"{table.row_count} rows in {database}.{table.name}" if right else _told(outcome), _HONEST)


async def _stopped(pool: SandboxPool, database: str, runaway: Probe) -> Check:
    started = time.monotonic()
    outcome, _ = await pool.run(database, runaway.sql)
    seconds = time.monotonic() - started
    stopped = (
        isinstance(outcome, LimitHit) and outcome.reason == runaway.limit and seconds <= LIMITS.statement_s + OVER_S
    )
    seen = f"{_told(outcome)} ({seconds:.1f} s; its limit is {LIMITS.statement_s:.0f} s)"
    return _row(runaway.name, stopped, seen, _NOT_STOPPED)


def _row(name: str, fine: bool, seen: str, advice: str) -> Check:
    return judged("statements", name, fine, seen, advice, otherwise="failed")


def _told(outcome: StatementOutcome) -> str:
    if isinstance(outcome, ResultTable):
        return f"it gave {len(outcome.rows)} rows"
    return outcome.message
