"""Every hostile statement of data/attacks.jsonl ends in a typed outcome, shows nothing of the host and hurts nobody."""

import asyncio
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytest_asyncio

from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError, StatementOutcome
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTACKS: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("data").joinpath("attacks.jsonl").read_text().splitlines()
]
BOMBS = {"parser bomb", "memory bomb", "cpu bomb", "crash", "flood", "timing probe"}
"""Kinds whose statements may be harmless enough to run."""
LIMITS = SandboxLimits(statement_s=0.6, kill_grace_s=0.3, children=3, max_bytes=1_000_000)
SECRET = "the-secret-7f3a91"
COUNTER = itertools.count()


@dataclass(frozen=True)
class Host:
    """A pool over a real database, with things beside it that no statement may see or touch."""

    pool: SandboxPool
    folder: Path
    cwd: Path

    @property
    def database(self) -> Path:
        return self.folder / "shop.duckdb"

    def files(self) -> list[tuple[str, int]]:
        """Everything that could have been written to, with its size."""
        inside = [path for top in (self.folder, self.cwd) for path in top.rglob("*")]
        return sorted((str(path), path.stat().st_size) for path in inside) + [(name, 0) for name in os.listdir("/")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[Host]:
    folder, cwd = Path(tempfile.mkdtemp(prefix="assay-host-")), Path(tempfile.mkdtemp(prefix="assay-cwd-"))
    for path in (folder, cwd):
        path.chmod(0o777)  # the operating system's permissions are not what is on trial here
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT i AS id, 'n' || i AS name, i % 7 AS grp FROM range(1000) r(i)")
        connection.execute("CREATE TABLE big AS SELECT i FROM range(2000000) r(i)")
    (folder / "secret.csv").write_text(f"word\n{SECRET}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_SECRET", SECRET)
        patch.chdir(cwd)
        async with SandboxPool({"shop": folder / "shop.duckdb"}, LIMITS) as pool:
            yield Host(pool, folder, cwd)
    for path in (folder, cwd):
        shutil.rmtree(path)


def statement(attack: dict[str, Any], host: Host) -> str:
    """The attack's SQL: spelt out, or put together from its recipe of texts and how often each comes."""
    if "repeat" in attack:
        recipe = attack["repeat"]
        return "".join(_numbered(text, i) for text, times in recipe for i in range(times))
    names = {"{folder}": str(host.folder), "{database}": str(host.database), "{secret}": f"{host.folder}/secret.csv"}
    sql = str(attack["sql"]).replace("{{", "{").replace("}}", "}")
    for mark, name in names.items():
        sql = sql.replace(mark, name)
    return sql


def _numbered(text: str, i: int) -> str:
    before = "" if i == 0 else str(i - 1)
    return text.replace("{{", "{").replace("}}", "}").replace("{h}", before).replace("{i}", str(i))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_mb(pool: SandboxPool) -> float:
    """The resident memory of the pool's children together."""
    assert pool._zygote._process is not None
    total = 0
    for pid in children_of(pool._zygote._process.pid):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


async def honest(pool: SandboxPool) -> bool:
    """Whether a statement that is not in the cache gets its rows."""
    n = next(COUNTER)
    outcome, ran_s = await pool.run("shop", f"SELECT count(*) + {n} FROM t")
    return isinstance(outcome, ResultTable) and outcome.rows == [[1000 + n]] and ran_s is not None


async def timed(pool: SandboxPool, sql: str) -> tuple[StatementOutcome, float]:
    started = time.monotonic()
    outcome, _ = await pool.run("shop", sql)
    return outcome, time.monotonic() - started


def name_of(attack: dict[str, Any]) -> str:
    head = attack.get("sql") or "".join(text for text, _ in attack.get("repeat", ()))
    return ascii(f"{attack['kind']}: {head[:40]}")


@pytest.mark.parametrize("attack", ATTACKS, ids=name_of)
async def test_an_attack_ends_in_a_typed_outcome_and_nothing_else(attack: dict[str, Any], host: Host) -> None:
    assert await honest(host.pool)
    before, sql, peak = host.files(), statement(attack, host), 0.0
    running = asyncio.create_task(timed(host.pool, sql))
    meanwhile = asyncio.gather(honest(host.pool), honest(host.pool))
    while not running.done():
        await asyncio.wait({running}, timeout=0.03)
        peak = max(peak, resident_mb(host.pool))
    outcome, seconds = running.result()

    assert isinstance(outcome, ResultTable | Refused | SqlError | LimitHit)
    if attack["kind"] not in BOMBS:
        assert isinstance(outcome, Refused | SqlError), outcome
    shown = outcome.model_dump_json()
    assert SECRET not in shown
    assert len(shown) < 3 * LIMITS.max_bytes + 10_000
    if str(host.folder) not in sql:
        assert str(host.folder) not in shown
    if "/proc" not in sql:
        assert "/proc" not in shown
    assert seconds < LIMITS.statement_s + 1.5
    assert peak < 2_000
    assert await meanwhile == [True, True], "a statement on another child suffered"
    assert await honest(host.pool), "the next statement suffered"
    assert host.files() == before


async def test_an_attack_that_only_inspects_is_no_danger_either(host: Host) -> None:
    for attack in ATTACKS:
        if attack["kind"] not in BOMBS:
            facts = await host.pool.inspect("shop", statement(attack, host))
            assert facts is None or set(facts.tables) <= {"t", "big"}
    assert await honest(host.pool)


async def test_no_table_that_the_guard_reports_is_one_of_the_engine_s_own(host: Host) -> None:
    views = [
        "duckdb_databases",
        "duckdb_tables",
        "duckdb_settings",
        "pragma_database_list",
        "sqlite_master",
        "pg_class",
    ]
    shapes = [
        "SELECT * FROM {v}",
        "SELECT (SELECT count(*) FROM {v})",
        "SELECT 1 WHERE EXISTS (FROM {v})",
        "WITH x AS (FROM {v}) FROM x",
        "WITH RECURSIVE {v} AS (FROM {v} UNION ALL SELECT * FROM {v} WHERE false) FROM {v}",
        "SELECT id FROM t LIMIT (SELECT count(*) FROM {v})",
        "SELECT id FROM t OFFSET (SELECT count(*) FROM {v})",
        "SELECT * FROM t JOIN {v} ON true",
        "SELECT * FROM t, LATERAL (SELECT * FROM {v}) x",
        "SELECT id FROM t UNION ALL SELECT 1 FROM {v}",
        "FROM (PIVOT {v} ON path IN ('a') USING count(*))",
        "FROM (UNPIVOT {v} ON path)",
        "SELECT * FROM unnest((SELECT list(x) FROM {v} x))",
        "SELECT CASE WHEN (SELECT true FROM {v} LIMIT 1) THEN 1 END",
        "SELECT id FROM t GROUP BY ALL HAVING (SELECT true FROM {v} LIMIT 1)",
    ]
    for view, shape in itertools.product(views, shapes):
        outcome, _ = await host.pool.run("shop", shape.format(v=view))
        assert isinstance(outcome, Refused | SqlError), shape.format(v=view)
        assert await host.pool.inspect("shop", shape.format(v=view)) is None
