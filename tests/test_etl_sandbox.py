"""The ETL sandbox: hostile statements are refused or harmless, honest ones run, a broken machine is never a grade."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from services.contracts.errors import BadInput
from services.contracts.etl import PinnedTable
from services.contracts.frozen import FrozenJob
from services.grader.etl.asking import Halted, Refused, Scope, Shown, ask
from services.grader.etl.bench import Bench
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.ground import LIMITS, Ground, guard_scope, runtime_job
from services.grader.etl.submission import grade_of
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.job import Job, JobLimits
from services.grader.runtime.run import Run, Stopped
from tests.etl_corpus import judged_apart
from tests.etl_jobs import ORIGINAL, etl_job, grader_here, pin, public_folder
from tests.test_sandbox_attacks import BOMBS
from tests.test_sandbox_honest import TABLES as HONEST_TABLES

DATA = Path(__file__).with_name("data")
ATTACKS: list[dict[str, Any]] = [json.loads(line) for line in (DATA / "attacks.jsonl").read_text().splitlines()]
HONEST: list[dict[str, Any]] = [json.loads(line) for line in (DATA / "honest.jsonl").read_text().splitlines()]
SECRET = "the-secret-1d77c4"
TABLES = {"t": ("id", "name", "grp"), "big": ("i",)}
SCOPE = Scope(job_id="4711", tables=TABLES, output="out", stored="out", exists=True, recreate=True)
SMALL = JobLimits(deadline_s=5, memory_mb=256, headroom_mb=512, spill_mb=64, file_mb=64)
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A bench over a small job, with a secret file beside its sources that everybody may read."""
    folder = public_folder()
    (folder / "secret.csv").write_text(f"word\n{SECRET}\n")
    grader = SubmissionGrader(etl_job(folder), limits=LIMITS.model_copy(update={"deadline_s": 60}), seed=1)
    yield Bench(grader)
    grader.close()
    shutil.rmtree(folder)


def statement(attack: dict[str, Any], folder: Path) -> str:
    """The attack's SQL: spelt out, or put together from its recipe."""
    if "repeat" in attack:
        return "".join(_numbered(text, i) for text, times in attack["repeat"] for i in range(times))
    sql = str(attack["sql"]).replace("{{", "{").replace("}}", "}")
    for mark, name in (("{folder}", folder), ("{database}", folder / "x.duckdb"), ("{secret}", folder / "secret.csv")):
        sql = sql.replace(mark, str(name))
    return sql


def _numbered(text: str, i: int) -> str:
    before = "" if i == 0 else str(i - 1)
    return text.replace("{{", "{").replace("}}", "}").replace("{h}", before).replace("{i}", str(i))


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], str]]:
    """The hostile statements that the write guard lets through in some form, each with its text."""
    folder = tmp_path_factory.mktemp("secret")
    texts = [statement(attack, folder) for attack in ATTACKS]
    found = judged_apart(SCOPE, texts)
    return [(attack, sql) for number, (attack, sql) in enumerate(zip(ATTACKS, texts, strict=True)) if found[number]]


def test_hostile_statements_are_refused_as_questions_and_as_rewrites(passed: list[tuple[dict[str, Any], str]]) -> None:
    assert len(ATTACKS) > 400
    inside = [sql for attack, sql in passed if attack["kind"] not in BOMBS]
    assert all("list_aggr" in sql or "json_transform" in sql for sql in inside), inside
    assert not [attack for attack, _ in passed if attack["kind"] in ("files", "network", "settings", "catalog")]


MADE = (
    "CREATE TABLE t AS SELECT i AS id, 'n' || i AS name, i % 7 AS grp FROM range(1000) r(i)",
    "CREATE TABLE big AS FROM range(20000) r(i)",
)


def assert_harmless(sql: str) -> None:
    answer = ask(Job(statements=("SELECT 1",), prepare=MADE, limits=SMALL), SCOPE, sql, "", 50)
    assert isinstance(answer, Shown | Refused | Halted)
    assert SECRET not in answer.model_dump_json()
    assert "/proc" not in answer.model_dump_json()


def test_what_the_guard_lets_through_ends_in_an_answer(passed: list[tuple[dict[str, Any], str]]) -> None:
    tried = [sql for attack, sql in passed if attack["kind"] not in BOMBS]
    for kind in ("memory bomb", "flood", "crash"):
        tried.append(next(sql for attack, sql in passed if attack["kind"] == kind))
    for sql in tried:
        assert_harmless(sql)


@pytest.mark.soak
def test_all_bombs_end_in_an_answer(passed: list[tuple[dict[str, Any], str]]) -> None:
    for _, sql in passed:
        assert_harmless(sql)


def honest_ground(folder: Path) -> tuple[PinnedTable, ...]:
    with duckdb.connect() as connection:
        connection.execute(HONEST_TABLES)
        names = ("customers", "orders", "staff", "prices", "odd names", "events", "shop_view")
        return tuple(pin(connection, folder, name, f'FROM "{name}"', f"h{n}") for n, name in enumerate(names))


def can_be_kept(case: dict[str, Any], plain: duckdb.DuckDBPyConnection) -> bool:
    """Not what differs from run to run, nor what the engine cannot make a table of."""
    if case["kind"] in ("volatile", "sampling"):
        return False
    try:
        made = plain.extract_statements(f"CREATE OR REPLACE TEMP TABLE tried AS FROM ({case['sql']})")
        plain.execute(made[0])
    except duckdb.Error:
        return False
    return len(made) == 1


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_honest_statements_fill_tables_with_the_rows_of_a_plain_connection(every: int) -> None:
    folder = public_folder()
    sources = honest_ground(folder)
    job = etl_job(folder).model_copy(update={"sources": sources, "output": "counts"})
    grader = SubmissionGrader(job, seed=1)
    with duckdb.connect() as plain:
        plain.execute(HONEST_TABLES)
        kept = [case["sql"] for case in HONEST if can_be_kept(case, plain)]
        assert len(kept) > 250
        kept = kept[::every]
        for start in range(0, len(kept), 49):
            part = kept[start : start + 49]
            made = [f"CREATE TEMP TABLE h{n} AS {sql}" for n, sql in enumerate(part)]
            counts = " UNION ALL ".join(f"SELECT {n}, (SELECT count(*) FROM h{n})" for n in range(len(part)))
            judged = grader.judged((*made, f"CREATE TABLE counts AS {counts}"))
            assert not isinstance(judged, Refused), judged
            outcome = grader.run(judged.sql, folder / "kept")
            assert isinstance(outcome, Run), outcome
            with duckdb.connect(str(folder / "kept" / "run.duckdb"), read_only=True) as connection:
                found = dict(connection.execute("FROM counts").fetchall())
            for number, sql in enumerate(part):
                assert found[number] == len(plain.execute(sql).fetchall()), sql
    grader.close()
    shutil.rmtree(folder)


SPELLINGS: tuple[Any, ...] = (
    *(4711, 4711.0, b"4711", ["x", 4711], {"job_id": "4711"}, {4711}),
    *("4711", " 4711 ", "04711", "+4711", "4711.0", "4.711e3", "4,711", "4_711", "0x1267", "0b1001001100111"),
    *("４７１１", "٤٧١١", "4\u200b711", "%34711", "'4711'", "jobs/4711", "job 4711", "https://host/#job/4711/run/3"),
)


def test_the_production_job_is_known_in_any_spelling_and_any_type() -> None:
    frozen = FrozenJob("4711")
    assert [value for value in SPELLINGS if not frozen.named_by(value)] == []
    for value in (471, "47110", "4711a", 4711.5, "orders_4711", None, True, "", [], {"job": 4712}, "1e999999999"):
        assert not frozen.named_by(value), value
    assert FrozenJob("Nightly").named_by(" nightly ")
    assert FrozenJob("1").named_by(True)


def test_a_question_shows_rows_and_plans_and_no_path_of_the_host(bench: Bench) -> None:
    rows = bench.probe("SELECT region, count(*) AS n FROM sales.customers GROUP BY region ORDER BY region")
    assert rows.text.splitlines()[:2] == ["region VARCHAR | n BIGINT", "region 0 | 10"]
    profile = bench.analyze("SELECT count(*) FROM sales.orders WHERE id < 10")
    assert "READ_PARQUET" in profile.text
    assert "9 rows" in profile.text
    assert "Filters: id<10" in bench.explain("SELECT id FROM sales.orders WHERE id < 10").text
    assert "tmp" not in rows.text + profile.text
    assert bench.probe("SELECT nothing FROM sales.orders").error.startswith("Binder Error")
    assert len(bench.probe("SELECT repeat('x', 100000) FROM sales.orders").text) < 20_000


def test_neither_a_question_nor_a_rewrite_can_read_a_file(bench: Bench) -> None:
    secret = Path(bench._job.sources[0].files[0]).parent / "secret.csv"
    for sql in (f"FROM '{secret}'", f"SELECT * FROM read_csv('{secret}')", f"SELECT * FROM glob('{secret.parent}/*')"):
        assert bench.probe(sql).error
        assert bench.run((f"CREATE TABLE sales.daily AS {sql}",)).error


def test_without_the_guard_the_process_still_cannot_read_what_is_not_its_own(bench: Bench) -> None:
    gold = Path(bench._job.after.files[0])
    assert gold.stat().st_mode & 0o004, "everybody may read it"
    grader = bench._grader
    for sql in (
        f"CREATE TABLE sales__daily AS FROM read_parquet('{gold}')",
        f"COPY sales.orders TO '{gold.parent}/x.csv'",
    ):
        outcome = grader.run((sql,), grader.folder / "grader" / "tried")
        assert isinstance(outcome, Stopped)
    job = runtime_job(grader.job, Ground(sources=grader.ground.sources), ("SELECT 1",))
    sneaked = job.model_copy(update={"prepare": (*job.prepare, f"CREATE TABLE gold AS FROM read_parquet('{gold}')")})
    with pytest.raises(BadInput, match="cannot be set up"):
        ask(sneaked.model_copy(update={"tables": ()}), guard_scope(grader.job), "SELECT 1", "", 5)


def test_a_run_can_be_verified_and_tells_no_row_of_production(bench: Bench) -> None:
    assert bench.verify().error == "nothing to verify: RUN a rewrite first"
    run = bench.run((ORIGINAL,))
    assert "CPU s in one run (the original took" in run.text
    assert bench.verify().equal is True
    bench.run((ORIGINAL.replace("count(*)", "2 + count(*)"),))
    said = bench.verify()
    assert said.equal is False
    assert "columns that differ: orders" in said.text
    assert "region 1" not in said.text


def test_a_limit_is_told_apart_from_an_error(bench: Bench) -> None:
    grader = SubmissionGrader(
        bench._job, limits=JobLimits(deadline_s=3, memory_mb=64, headroom_mb=300, spill_mb=1), seed=1
    )
    cross = "CREATE TABLE sales.daily AS SELECT count(*) AS n FROM range(1000000) a, range(1000000) b"
    judged = grader.judged((cross,))
    assert not isinstance(judged, Refused)
    outcome = grader.run(judged.sql, grader.folder / "grader" / "slow")
    assert getattr(outcome, "reason", "") == "deadline"
    grader.close()


def _when_a_child_runs(kill: Callable[[psutil.Process], None]) -> threading.Thread:
    """Once a grandchild of ours that is born from now on works, have it hit by a signal."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def works(child: psutil.Process) -> bool:
        try:
            young = child.pid not in before and child.parent() != psutil.Process()
            return young and child.cpu_times().user > 0.3
        except psutil.Error:
            return False

    def wait_and_hit() -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = [child for child in psutil.Process().children(recursive=True) if works(child)]
            if found:
                kill(found[0])
                return

    thread = threading.Thread(target=wait_and_hit)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_paused_process_is_a_fault_and_no_grade(number: signal.Signals, bench: Bench) -> None:
    slow = "CREATE TABLE sales.daily AS SELECT sum(a.range * b.range) AS n FROM range(100000) a, range(100000) b"
    judged = bench._grader.judged((slow,))
    assert not isinstance(judged, Refused)
    networks = []

    def hit(child: psutil.Process) -> None:
        networks.append(os.readlink(f"/proc/{child.pid}/ns/net"))
        child.send_signal(number)

    thread = _when_a_child_runs(hit)
    with pytest.raises(TimingFault):
        bench._grader.run(judged.sql, bench._grader.folder / "grader" / "hit")
    thread.join()
    assert networks != [os.readlink("/proc/self/ns/net")], "it has the network of the host"


def test_a_grade_is_derived_from_what_is_stored() -> None:
    folder = public_folder()
    grader = grader_here(etl_job(folder))
    made = grader.grade((ORIGINAL.replace("count(*)", "3"),))
    assert grade_of(type(made).model_validate_json(made.model_dump_json())) == grade_of(made)
    assert [check.where for check in made.checks] == ["production"]
    grader.close()
    shutil.rmtree(folder)
