"""The pool of sandbox children: limits, deaths, the cache, and what a child has no right to."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import duckdb
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.errors import SandboxFault
from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError, StatementOutcome
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import KILLS, SandboxPool, Stopwatch

LIMITS = SandboxLimits(statement_s=2.0, kill_grace_s=0.5, children=2, max_rows=100, max_bytes=10_000)
ENDLESS = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
DEAF = "SELECT lpad('x', 2000000000, 'y')"
"""Does not notice an interrupt."""
BUSY = "SELECT count(*) FROM numbers a, numbers b WHERE (a.i * b.i) % 7 = 1"
"""Some tenths of a second of work."""
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pool")
    for name, rows in (("one", 1_000), ("two", 5)):
        with duckdb.connect(str(folder / f"{name}.duckdb")) as connection:
            connection.execute(f"CREATE TABLE t AS SELECT i AS id, '{name}' AS origin FROM range({rows}) r(i)")
            connection.execute(f"CREATE TABLE only_{name} AS SELECT 1 AS x")
            connection.execute("CREATE TABLE numbers AS SELECT i FROM range(8000) r(i)")
    return {name: folder / f"{name}.duckdb" for name in ("one", "two")}


@pytest_asyncio.fixture
async def pool(databases: dict[str, Path]) -> AsyncIterator[SandboxPool]:
    async with SandboxPool(databases, LIMITS) as pool:
        yield pool


def zygote_of(pool: SandboxPool) -> int:
    assert pool._zygote._process is not None
    return pool._zygote._process.pid


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def until(condition: Callable[[], bool]) -> None:
    """Come back as soon as the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def rows(pool: SandboxPool, database: str, sql: str) -> list[list[object]]:
    outcome, _ = await pool.run(database, sql)
    assert isinstance(outcome, ResultTable), outcome
    return [list(row) for row in outcome.rows]


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def one_at_work(pool: SandboxPool) -> int:
    """The process id of a child that has been computing for a tenth of a second."""
    found: list[int] = []
    started: dict[int, int] = {}

    def working() -> bool:
        for pid in children_of(zygote_of(pool)) if pool._zygote._process else []:
            if cpu_ticks(pid) >= started.setdefault(pid, cpu_ticks(pid)) + 10:
                found.append(pid)
        return bool(found)

    await until(working)
    return found[0]


async def test_a_statement_over_its_time_is_interrupted_and_its_child_answers_the_next(pool: SandboxPool) -> None:
    assert await rows(pool, "one", "SELECT 1") == [[1]]
    child = children_of(zygote_of(pool))
    started = time.monotonic()
    outcome, _ = await pool.run("one", ENDLESS)
    assert isinstance(outcome, LimitHit)
    assert outcome.reason == "timeout"
    assert time.monotonic() - started < LIMITS.statement_s + LIMITS.kill_grace_s + 1
    assert await rows(pool, "one", "SELECT count(*) FROM t") == [[1000]]
    assert (children_of(zygote_of(pool)), pool.respawns) == (child, 0)


async def test_a_statement_deaf_to_the_interrupt_is_killed_and_the_next_one_works(databases: dict[str, Path]) -> None:
    limits = LIMITS.model_copy(update={"statement_s": 0.5, "kill_grace_s": 0.1})
    async with SandboxPool(databases, limits) as pool:
        outcome, _ = await pool.run("one", DEAF)
        assert isinstance(outcome, LimitHit)
        assert outcome.reason == "timeout"
        assert await rows(pool, "one", "SELECT count(*) FROM t") == [[1000]]
        assert pool.respawns == 1


async def test_a_child_that_ran_out_of_memory_is_not_used_again(pool: SandboxPool) -> None:
    assert await rows(pool, "one", "SELECT 1") == [[1]]
    (worn,) = children_of(zygote_of(pool))
    outcome, _ = await pool.run("one", "SELECT repeat('x', 3000000000)")
    assert isinstance(outcome, LimitHit)
    assert outcome.reason == "memory"
    assert await rows(pool, "one", "SELECT 2") == [[2]]
    await until(lambda: not exists(worn))


async def test_a_child_killed_in_the_middle_costs_the_statement_nothing_and_leaves_no_zombie(
    databases: dict[str, Path],
) -> None:
    limits = LIMITS.model_copy(update={"statement_s": 30.0})
    async with SandboxPool(databases, limits) as pool:
        statement = asyncio.create_task(rows(pool, "one", BUSY))
        child = await one_at_work(pool)
        os.kill(child, signal.SIGKILL)
        with duckdb.connect(str(databases["one"]), read_only=True) as plain:
            assert [list(row) for row in plain.execute(BUSY).fetchall()] == await statement
        assert pool.respawns == 1
        await until(lambda: not exists(child))


async def test_a_statement_whose_children_others_kill_is_no_crash(databases: dict[str, Path]) -> None:
    async with SandboxPool(databases, LIMITS.model_copy(update={"statement_s": 60.0})) as pool:
        statement = asyncio.create_task(pool.run("one", ENDLESS))
        for _ in range(KILLS - 1):
            os.kill(await one_at_work(pool), signal.SIGKILL)
        assert await one_at_work(pool)
        assert not statement.done()
        os.kill(await one_at_work(pool), signal.SIGKILL)
        with pytest.raises(SandboxFault, match="10 children of one were killed"):
            await statement
        assert await rows(pool, "one", "SELECT 1") == [[1]]


def test_time_that_was_nobody_s_doing_is_forgotten() -> None:
    clock = Stopwatch()
    with clock:
        pass
    first = clock.seconds
    with clock:
        sum(range(100_000))
    assert clock.seconds > first
    clock.forget()
    assert clock.seconds == pytest.approx(first, abs=1e-12)


async def test_a_statement_that_takes_down_three_children_is_a_crash(databases: dict[str, Path]) -> None:
    async with SandboxPool(databases, LIMITS.model_copy(update={"statement_s": 60.0})) as pool:
        statement = asyncio.create_task(pool.run("one", ENDLESS))
        for _ in range(3):
            os.kill(await one_at_work(pool), signal.SIGSEGV)
        outcome, ran_s = await statement
        assert isinstance(outcome, LimitHit)
        assert ran_s is not None
        assert (outcome.reason, pool.respawns) == ("crash", 3)
        assert await rows(pool, "one", "SELECT 1") == [[1]]


async def test_a_killed_zygote_comes_back_and_its_dead_children_are_no_statement_s_crash(
    databases: dict[str, Path],
) -> None:
    async with SandboxPool(databases, LIMITS.model_copy(update={"children": 4, "statement_s": 30.0})) as pool:
        await asyncio.gather(*(rows(pool, "one", f"{BUSY} AND a.i < {n}") for n in range(1000, 1004)))
        zygote = zygote_of(pool)
        children = children_of(zygote)
        assert children
        os.kill(zygote, signal.SIGKILL)
        await until(lambda: not any(exists(child) for child in children))
        assert await rows(pool, "one", "SELECT count(*) FROM t") == [[1000]]
        assert zygote_of(pool) != zygote


async def test_a_zygote_killed_under_a_running_statement_is_a_fault_or_costs_nothing(pool: SandboxPool) -> None:
    statement = asyncio.create_task(rows(pool, "one", BUSY))
    await one_at_work(pool)
    os.kill(zygote_of(pool), signal.SIGKILL)
    with contextlib.suppress(SandboxFault):
        assert len(await statement) == 1
    assert await rows(pool, "one", "SELECT 1") == [[1]]


async def test_the_cache_gives_an_equal_outcome(pool: SandboxPool) -> None:
    for sql in ("SELECT * FROM t ORDER BY id LIMIT 3", "SELECT nothing FROM t", "DROP TABLE t"):
        first, first_ran = await pool.run("one", sql)
        second, second_ran = await pool.run("one", f" {sql}\n")
        assert first_ran is not None
        assert second_ran is None
        assert first == second
    assert pool.cache.hits == 3


@pytest.mark.parametrize("sql", ["SELECT random()", "SELECT uuid()", "SELECT now()", "FROM t USING SAMPLE 2", DEAF])
async def test_the_cache_keeps_nothing_that_may_differ_next_time(sql: str, databases: dict[str, Path]) -> None:
    async with SandboxPool(databases, LIMITS.model_copy(update={"statement_s": 0.2, "kill_grace_s": 0.2})) as pool:
        assert None not in [(await pool.run("one", sql))[1] for _ in range(2)]


async def test_statements_asked_together_run_once(pool: SandboxPool) -> None:
    sql = "SELECT count(*), sum(a.id * b.id) FROM t AS a, t AS b"
    ran = await asyncio.gather(*(pool.run("one", sql) for _ in range(8)))
    assert sum(seconds is not None for _, seconds in ran) == 1
    assert all(outcome == ran[0][0] for outcome, _ in ran)


async def test_volatile_statements_asked_together_run_each(pool: SandboxPool) -> None:
    ran = await asyncio.gather(*(pool.run("one", "SELECT random()") for _ in range(4)))
    assert len({str(outcome) for outcome, _ in ran}) == 4


async def test_one_who_stops_waiting_takes_nothing_from_the_others(pool: SandboxPool) -> None:
    sql = "SELECT count(*) FROM t AS a, t AS b WHERE a.id <= b.id"
    asked = [asyncio.create_task(pool.run("one", sql)) for _ in range(4)]
    await asyncio.sleep(0)
    asked[0].cancel()
    asked[1].cancel()
    left = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(each, BaseException) for each in left] == [True, True, False, False]
    assert left[2][0] == left[3][0]


async def test_rows_over_the_cap_are_cut_and_marked(pool: SandboxPool) -> None:
    whole, _ = await pool.run("one", "SELECT id FROM t ORDER BY id LIMIT 100")
    cut, _ = await pool.run("one", "SELECT id FROM t ORDER BY id LIMIT 101")
    assert isinstance(whole, ResultTable)
    assert isinstance(cut, ResultTable)
    assert (len(whole.rows), whole.truncated) == (100, False)
    assert (len(cut.rows), cut.truncated) == (100, True)
    assert whole.rows == cut.rows == [[i] for i in range(100)]


async def test_bytes_over_the_cap_are_cut_and_marked(pool: SandboxPool) -> None:
    outcome, _ = await pool.run("one", "SELECT id, repeat('x', 1000) FROM t ORDER BY id LIMIT 50")
    assert isinstance(outcome, ResultTable)
    assert outcome.truncated
    assert 5 <= len(outcome.rows) < 10
    assert [row[0] for row in outcome.rows] == list(range(len(outcome.rows)))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 20000)",
        "SELECT " + ", ".join(f"id AS {'a' * 50}{i}" for i in range(250)) + " FROM t LIMIT 0",
    ],
)
async def test_a_result_without_one_row_that_fits_is_a_limit(sql: str, pool: SandboxPool) -> None:
    outcome, _ = await pool.run("one", sql)
    assert isinstance(outcome, LimitHit)
    assert outcome.reason == "result_size"


async def test_statements_on_two_databases_do_not_see_each_other(pool: SandboxPool) -> None:
    sql = "SELECT count(*), min(origin) FROM t"
    for _ in range(2):
        one, two = await asyncio.gather(rows(pool, "one", sql), rows(pool, "two", sql))
        assert (one, two) == ([[1000, "one"]], [[5, "two"]])
    outcome, _ = await pool.run("one", "SELECT * FROM only_two")
    assert isinstance(outcome, SqlError)


async def test_more_databases_than_children_take_turns(databases: dict[str, Path]) -> None:
    async with SandboxPool(databases, LIMITS.model_copy(update={"children": 1})) as pool:
        for n in range(4):
            name = ("one", "two")[n % 2]
            assert await rows(pool, name, f"SELECT x + {n} FROM only_{name}") == [[1 + n]]
            await until(lambda: len(children_of(zygote_of(pool))) == 1)


async def test_a_database_that_cannot_be_opened_is_a_fault(tmp_path: Path) -> None:
    async with SandboxPool({"none": tmp_path / "none.duckdb"}, LIMITS) as pool:
        with pytest.raises(SandboxFault, match="none"):
            await pool.run("none", "SELECT 1")


async def test_closing_the_pool_leaves_no_process(databases: dict[str, Path]) -> None:
    async with SandboxPool(databases, LIMITS) as pool:
        await asyncio.gather(rows(pool, "one", "SELECT 1"), rows(pool, "two", "SELECT 1"))
        statement = asyncio.create_task(pool.run("one", ENDLESS))
        await one_at_work(pool)
        zygote = zygote_of(pool)
        pids = [zygote, *children_of(zygote)]
        assert len(pids) == 3
        statement.cancel()
    await until(lambda: not any(exists(pid) for pid in pids))


async def test_a_cancelled_statement_takes_its_child_with_it(pool: SandboxPool) -> None:
    statement = asyncio.create_task(pool.run("one", ENDLESS))
    child = await one_at_work(pool)
    statement.cancel()
    with pytest.raises(asyncio.CancelledError):
        await statement
    await until(lambda: not exists(child))
    assert await rows(pool, "one", "SELECT 1") == [[1]]


async def test_a_child_of_root_runs_as_nobody_for_good(pool: SandboxPool) -> None:
    await rows(pool, "one", "SELECT 1")
    (child,) = children_of(zygote_of(pool))
    status = status_of(child)
    assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
    assert status["Groups"] == ""
    assert status["NoNewPrivs"] == "1"
    assert {status[key] for key in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}


async def test_a_child_has_no_environment_no_files_and_no_way_to_write_or_fork(
    pool: SandboxPool, databases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_SECRET", "x")
    await rows(pool, "one", "SELECT 1")
    (child,) = children_of(zygote_of(pool))
    assert Path(f"/proc/{child}/environ").read_bytes() == b""
    held = {int(link.name): os.readlink(link) for link in Path(f"/proc/{child}/fd").iterdir()}
    database = [number for number, target in held.items() if target == str(databases["one"])]
    assert set(held) - set(database) == {0, 1, 2, 3}
    assert (held[0], held[1]) == ("/dev/null", "/dev/null")
    assert held[3].startswith("socket:")
    for number in database:
        flags = int(Path(f"/proc/{child}/fdinfo/{number}").read_text().split("flags:")[1].split()[0], 8)
        assert flags & os.O_ACCMODE == os.O_RDONLY
    limits = Path(f"/proc/{child}/limits").read_text().splitlines()
    hard = {line[:26].strip(): line[47:68].strip() for line in limits}
    assert (hard["Max file size"], hard["Max core file size"], hard["Max processes"]) == ("0", "0", "0")
    assert int(hard["Max address space"]) < 2 * 2**30
    assert os.readlink(f"/proc/{child}/cwd") == "/"


WORDS = (
    "SELECT FROM t id * ( ) , ; ' \" -- /* */ WITH RECURSIVE AS x LIMIT 1 [ ] { } : :: $ ? # @ 'a' NULL CAST INTERVAL "
    "DAY UNION ALL ORDER BY OVER lambda -> => := . .. $$ E' \\ \ud800 \x00 \u212a é duckdb_databases PIVOT ON USING "
    "unnest STRUCT VALUES CASE WHEN THEN END EXISTS NOT IN json_each range try_cast VARIANT"
)
TEXTS = st.text(max_size=60) | st.lists(st.sampled_from(WORDS.split(" ")), max_size=25).map(" ".join)
QUERIES = TEXTS | TEXTS.map("SELECT {} FROM t".format) | TEXTS.map("SELECT interval 1 day, id FROM t {}".format)


@pytest.fixture(scope="module")
def ask(databases: dict[str, Path]) -> Iterator[Callable[[str], StatementOutcome]]:
    """Runs one statement on a pool that outlives a test's examples."""
    with asyncio.Runner() as runner:

        async def made() -> SandboxPool:
            return SandboxPool(databases, LIMITS)

        pool = runner.run(made())
        yield lambda sql: runner.run(pool.run("two", sql))[0]
        pool.close()


@settings(max_examples=400, deadline=None)
@given(sql=QUERIES)
def test_any_text_at_all_has_a_typed_outcome_and_the_pool_still_answers(
    ask: Callable[[str], StatementOutcome], databases: dict[str, Path], sql: str
) -> None:
    outcome = ask(sql)
    assert isinstance(outcome, ResultTable | Refused | SqlError | LimitHit)
    assert str(databases["two"].parent) not in outcome.model_dump_json()
    after = ask("SELECT count(*) + random() * 0 FROM t")
    assert isinstance(after, ResultTable)
    assert after.rows == [[5.0]]
