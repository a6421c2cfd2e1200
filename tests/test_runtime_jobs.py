"""A measured job: what is inside its clock, what it may touch, and every way to move work out of sight is refused."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import psutil
import pytest
from pydantic import ValidationError

from services.contracts.errors import BadInput
from services.grader.runtime.cores import Core, claim_core
from services.grader.runtime.cost import cost_of
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.job import DatabaseSource, Job, JobLimits, ParquetSource
from services.grader.runtime.launch import WORKER
from services.grader.runtime.run import Run, Stopped
from services.grader.runtime.running import run_once

SUMS = "SELECT g, sum(x) AS total, avg(y) AS mean FROM t GROUP BY g"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shelf() -> Iterator[Path]:
    """A DuckDB file and a Parquet file of 200,000 rows that everybody may read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with duckdb.connect(str(folder / "shop.duckdb")) as made:
            made.execute("CREATE TABLE t AS SELECT range AS x, range % 7 AS g, range::DOUBLE AS y FROM range(200000)")
            made.execute("CREATE VIEW v AS SELECT count(*) AS n FROM t")
            made.execute(f"COPY t TO '{folder}/t.parquet'")
        yield folder


@pytest.fixture(scope="module")
def core() -> Iterator[Core]:
    with claim_core(60) as core:
        yield core


def job(shelf: Path, *statements: str, tables: tuple[str, ...] = (), limits: JobLimits | None = None) -> Job:
    sources = (
        DatabaseSource(name="shop", path=shelf / "shop.duckdb"),
        ParquetSource(name="files", paths=(shelf / "t.parquet",)),
    )
    return Job(statements=statements, sources=sources, tables=tables, limits=limits or JobLimits())


def ran(made: Job, core: Core, profile: bool = False) -> Run:
    outcome = run_once(made, core, profile)
    assert isinstance(outcome, Run), outcome
    return outcome


def stopped(made: Job, core: Core) -> Stopped:
    outcome = run_once(made, core)
    assert isinstance(outcome, Stopped), outcome
    return outcome


def test_a_query_is_written_whole_and_summed(shelf: Path, core: Core) -> None:
    one = ran(job(shelf, f"-- totals;\n{SUMS}; -- ';'"), core)
    assert one.outputs[0].rows == 7
    assert one.outputs[0].columns == ("g BIGINT", "total HUGEINT", "mean DOUBLE")
    assert one.core == core.number
    assert one.cpu_s > 0
    everything = ran(job(shelf, "SELECT * FROM t"), core)
    assert everything.outputs[0].rows == 200_000


def test_outputs_are_compared_as_bags_and_floats_apart(shelf: Path, core: Core) -> None:
    one, turned, drifted, doubled = (
        ran(job(shelf, sql), core).outputs[0]
        for sql in (
            SUMS,
            f"{SUMS} ORDER BY g DESC",
            SUMS.replace("avg(y)", "avg(y) * (1 + 1e-12)"),
            f"{SUMS} UNION ALL {SUMS}",
        )
    )
    assert one == turned
    assert (one.exact, one.rows) == (drifted.exact, drifted.rows)
    assert one.whole != drifted.whole
    assert doubled.rows == 14
    assert doubled.exact != one.exact


def test_a_job_of_several_statements_fills_tables_and_folders(shelf: Path, core: Core) -> None:
    made = job(shelf, "CREATE TEMP TABLE few AS FROM t WHERE x < 100", "INSERT INTO target SELECT x, g FROM few")
    made = made.model_copy(
        update={"prepare": ("CREATE TABLE target (x BIGINT, g BIGINT)",), "tables": ("target",), "folders": ("parts",)}
    )
    copied = "COPY (FROM few) TO 'parts' (FORMAT parquet, PARTITION_BY (g))"
    outputs = ran(made.rewritten((*made.statements, copied)), core).outputs
    assert [(output.name, output.rows) for output in outputs] == [("target", 100), ("parts", 100)]


def test_sleep_is_no_cpu_time_and_shows_as_wall_time(shelf: Path, core: Core) -> None:
    slept = ran(job(shelf, "SELECT sleep_ms(300) AS s"), core)
    assert slept.wall_s >= 0.3
    assert slept.cpu_s < 0.3


def test_the_profile_counts_the_same_in_every_run(shelf: Path, core: Core) -> None:
    sql = f"SELECT * FROM ({SUMS}) JOIN files USING (g) WHERE files.x < 1000 ORDER BY files.y"
    costs = [cost_of(ran(job(shelf, sql), core, profile=True), "1.5.6") for _ in range(3)]
    assert costs[0] == costs[1] == costs[2]
    assert costs[0].rows_scanned >= 200_000
    assert costs[0].bytes_read > 0
    twice = cost_of(ran(job(shelf, f"{sql.split(' ORDER')[0]} UNION ALL {sql}"), core, profile=True), "1.5.6")
    assert twice.total > costs[0].total
    with pytest.raises(BadInput, match="without a profile"):
        cost_of(ran(job(shelf, SUMS), core), "1.5.6")


MADE = ("CREATE TABLE made AS SELECT 1 AS x", "CREATE TABLE few AS SELECT g::INT AS x FROM t")
ALIKE = (
    ("SELECT sum(x + 1) AS s FROM t WHERE g = 3", "select SUM(o.x + 1) as s from t AS o where o.g = 3 -- quicker"),
    ("SELECT x FROM t", "WITH unused AS (SELECT 42) SELECT t.x FROM t"),
    ("UPDATE made SET x = 1", "update made set x=1"),
)
APART = (
    ("SELECT sum(x + 1) AS s FROM t", "SELECT sum(x + 2) AS s FROM t"),
    ("SELECT x FROM t WHERE g = 3", "SELECT x FROM t WHERE g = 4"),
    ("SELECT x FROM t ORDER BY g LIMIT 3", "SELECT x FROM t ORDER BY g DESC LIMIT 3"),
    ("SELECT sum(x) FROM t", "SELECT sum(x) FILTER (g > 1) FROM t"),
    (
        "SELECT strptime('2024-01-0' || (x + 1), '%Y-%m-%d') FROM few",
        "SELECT strptime('2024-01-0' || (x + 1), '%Y-%d-%m') FROM few",
    ),
    ("SELECT quantile_cont(x, 0.5) FROM t", "SELECT quantile_cont(x, 0.6) FROM t"),
    ("SELECT sum(x) OVER (ORDER BY g) FROM t", "SELECT sum(x) OVER (ORDER BY g ROWS 3 PRECEDING) FROM t"),
    ("SELECT list_transform([x], lambda y: y + 1) FROM t", "SELECT list_transform([x], lambda y: y + 2) FROM t"),
    ("UPDATE made SET x = 1", "UPDATE made SET x = 2"),
    ("SET VARIABLE v = 1", "SET VARIABLE v = 2"),
)


@pytest.mark.parametrize(("pairs", "alike"), [(ALIKE, True), (APART, False)])
def test_a_plan_stands_for_what_a_statement_does(
    shelf: Path, core: Core, pairs: tuple[tuple[str, str], ...], alike: bool
) -> None:
    texts = [sql for pair in pairs for sql in pair]
    work = ran(job(shelf, *MADE, *texts, tables=("made",)), core, profile=True).work
    plans = [done.plan for done in work[len(MADE) :]]
    same = [one is not None and one == other for one, other in zip(plans[::2], plans[1::2], strict=True)]
    assert same == [alike] * len(pairs)


def test_every_kind_of_statement_can_be_profiled(shelf: Path, core: Core) -> None:
    kinds = (
        "BEGIN", "CREATE TABLE made AS SELECT 1 AS a, 2 AS b", "CREATE MACRO m(x) AS x + 1", "COMMIT", "EXPLAIN FROM t",
        "INSERT INTO made SELECT m(1), 3; DELETE FROM made WHERE a = 7", "PRAGMA version",
        "PIVOT made ON a USING sum(b)",
        "MERGE INTO made USING (SELECT 9 AS a, 9 AS b) AS n ON made.a = n.a WHEN NOT MATCHED THEN INSERT", "-- nothing",
    )  # fmt: skip
    done = ran(job(shelf, *kinds, tables=("made",)), core, profile=True)
    assert done.outputs[0].rows == 3
    assert len(done.work) == len(kinds)
    assert ran(job(shelf, *kinds, tables=("made",)), core).outputs == done.outputs


def test_work_cannot_hide_behind_a_second_statement_of_the_same_text(shelf: Path, core: Core) -> None:
    texts = ("CREATE TABLE made AS SELECT * FROM t a JOIN t b USING (x); SELECT 1",)
    (work,) = ran(job(shelf, *texts, tables=("made",)), core, profile=True).work
    assert work.rows_scanned >= 400_000


LEFT_OUT = {
    "a view": ("CREATE VIEW made AS FROM t",),
    "a generated column": (
        "CREATE TABLE made (x INT, d INT GENERATED ALWAYS AS (x * 2))",
        "INSERT INTO made VALUES (1)",
    ),
    "a macro": ("CREATE MACRO made() AS TABLE FROM t",),
    "a temporary table": ("CREATE TEMP TABLE made AS FROM t",),
    "another database": ("ATTACH ':memory:' AS other", "CREATE TABLE other.made AS FROM t"),
    "an open transaction": ("BEGIN", "CREATE TABLE made AS FROM t"),
    "nothing": ("SELECT count(*) FROM t",),
}


@pytest.mark.parametrize("statements", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_an_output_that_is_not_stored_is_refused(shelf: Path, core: Core, statements: tuple[str, ...]) -> None:
    assert stopped(job(shelf, *statements, tables=("made",)), core).reason == "output"


def test_macros_of_the_job_do_not_reach_the_reading_of_its_output(shelf: Path, core: Core) -> None:
    lies = ("CREATE MACRO hash(x) AS 1", "CREATE MACRO sum(x) AS 0", "CREATE VIEW duckdb_tables AS SELECT 1 AS sql")
    kept = "CREATE TABLE made AS SELECT g, x FROM t"
    honest, lying = (ran(job(shelf, *before, kept, tables=("made",)), core).outputs for before in ((), lies))
    assert honest == lying


@pytest.mark.parametrize(
    "sql",
    [
        "COPY t TO '/tmp/assay-cache.parquet'",
        "COPY t TO '/dev/shm/assay-cache.parquet'",
        "COPY t TO '/proc/self/fd/3'",
        "CREATE TABLE shop.cache AS FROM t",
        "CREATE VIEW shop.cache AS FROM t",
        "ATTACH '/tmp/assay-cache.duckdb' AS cache",
        "SET threads = 2",
        "SET allowed_directories = ['/']",
        "INSTALL httpfs",
        "SELECT * FROM read_text('/etc/hostname')",
        "FROM cache_of_an_earlier_run",
    ],
)
def test_a_job_reads_its_sources_writes_its_folder_and_nothing_else(shelf: Path, core: Core, sql: str) -> None:
    assert stopped(job(shelf, sql, SUMS), core).reason == "sql_error"


def test_no_run_finds_what_an_earlier_one_left(shelf: Path, core: Core) -> None:
    assert ran(job(shelf, "CREATE TABLE kept AS FROM t", "COPY t TO 'kept.parquet'", SUMS), core)
    for sql in ("FROM kept", "FROM 'kept.parquet'"):
        assert stopped(job(shelf, sql), core).reason == "sql_error"


def test_sources_are_read_only_by_permission(shelf: Path, core: Core) -> None:
    before = (shelf / "t.parquet").read_bytes()
    assert stopped(job(shelf, f"COPY t TO '{shelf}/t.parquet'", SUMS), core).reason == "sql_error"
    assert (shelf / "t.parquet").read_bytes() == before
    with tempfile.TemporaryDirectory() as name:
        hidden = Path(name, "t.parquet")
        hidden.write_bytes(before)
        made = Job(statements=("FROM files",), sources=(ParquetSource(name="files", paths=(hidden,)),))
        with pytest.raises(BadInput, match="Permission denied"):
            run_once(made, core)


def test_a_statement_beyond_its_limits_is_the_jobs_own_doing(shelf: Path, core: Core) -> None:
    cross = "SELECT count(*) AS n FROM t a, t b, t c WHERE a.x + b.x + c.x = 3"
    assert stopped(job(shelf, cross, limits=JobLimits(deadline_s=1)), core).reason == "deadline"
    hungry = "SELECT list(a.x) AS l FROM t a, range(1000)"
    small = JobLimits(memory_mb=64, headroom_mb=256, spill_mb=1)
    assert stopped(job(shelf, hungry, limits=small), core).reason == "memory"


def test_a_source_cannot_take_a_name_of_the_run(shelf: Path) -> None:
    with pytest.raises(ValidationError, match="choose another"):
        DatabaseSource(name="run", path=shelf / "shop.duckdb")


def measuring() -> list[psutil.Process]:
    """The measuring processes of this test: a warden and the process that it watches."""
    family = psutil.Process().children(recursive=True)
    return [process for process in family if WORKER in " ".join(process.cmdline())]


@pytest.mark.parametrize(
    ("whose", "act", "said"),
    [
        (-1, psutil.Process.kill, "killed by signal 9"),
        (-1, psutil.Process.suspend, "paused"),
        (0, psutil.Process.kill, "ended by signal 9"),
        (0, psutil.Process.suspend, "paused"),
    ],
)
def test_a_measuring_process_that_is_killed_or_paused_is_a_fault(
    shelf: Path, core: Core, whose: int, act: Callable[[psutil.Process], None], said: str
) -> None:
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(run_once, job(shelf, "SELECT sleep_ms(60000) AS s"), core)
        waiting = threading.Event()
        while len(found := measuring()) < 2 and not running.done():
            waiting.wait(0.01)
        act(sorted(found, key=lambda process: process.pid)[whose])
        with pytest.raises(TimingFault, match=said):
            running.result(PATIENCE_S)
    assert not measuring()


def test_nothing_is_left_of_a_run(shelf: Path, core: Core) -> None:
    before = set(os.listdir(tempfile.gettempdir()))
    ran(job(shelf, SUMS), core)
    left = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("assay-timing-")} - before
    assert not left
    assert not measuring()


def test_a_folder_without_files_is_no_output(shelf: Path, core: Core) -> None:
    made = job(shelf, "COPY t TO 'elsewhere.parquet'").model_copy(update={"folders": ("parts",)})
    assert stopped(made, core).reason == "output"
