"""The built-in ETL jobs: the same from the same seed, right rewrites equal, wrong ones of traps not."""

from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from cluster.etl.builtin.building import build, query_of, rows_of
from cluster.etl.builtin.catalog import JOBS, PAYING, TRAPS, job_spec
from cluster.etl.builtin.domain import JobSpec
from cluster.etl.builtin.writing import PINS, write_job
from cluster.etl.opening import open_job
from cluster.etl.pinning import check_files
from services.contracts.errors import BadInput
from services.contracts.etl import EtlGrade, EtlJob
from services.grader.etl.contract import check_contract
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.submission import grade_of
from services.grader.tables.compare import compare
from services.grader.tables.verdict import TableJob, TableRules


def test_there_are_enough_jobs_and_traps() -> None:
    assert len(PAYING) >= 16
    assert len(TRAPS) >= 8
    assert len(JOBS) == len(PAYING) + len(TRAPS) >= 24
    assert all(spec.wrong and spec.right for spec in TRAPS)


def output_of(job: EtlJob, statements: tuple[str, ...], path: Path) -> Path:
    """What the statements make of the job's sources, as a Parquet file."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for source in job.sources:
            connection.execute(f"CREATE VIEW {source.name} AS FROM read_parquet({list(source.files)})")
        if job.before is not None:
            connection.execute(f"CREATE TABLE {job.output} AS FROM read_parquet({list(job.before.files)})")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"COPY {job.output} TO '{path}' (FORMAT parquet)")
    return path


def same(job: EtlJob, statements: tuple[str, ...], folder: Path) -> bool:
    path = output_of(job, statements, folder / "other.parquet")
    return compare(TableJob(left=job.after.files[0], right=str(path), rules=TableRules(examples=0))).equal


@pytest.mark.parametrize("spec", JOBS.values(), ids=lambda spec: spec.task_key)
def test_the_right_rewrite_is_equal_and_the_wrong_one_is_not(spec: JobSpec, tmp_path: Path) -> None:
    job = build(spec, tmp_path, "tiny", seed=3)
    assert job.after.rows > 0
    assert same(job, spec.right, tmp_path)
    assert not spec.wrong or not same(job, spec.wrong, tmp_path)
    assert check_contract(job.contract, job.sources) == ()


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    spec = job_spec("customer_card")
    rows = rows_of(spec.tables, 0.001)
    with duckdb.connect() as connection:
        one, again, other = (
            [connection.execute(query_of(table, rows, seed)).fetchall() for table in spec.tables] for seed in (5, 5, 6)
        )
    assert one == again
    assert one != other


def test_a_job_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BadInput, match="there is no built-in job nothing; there are leads_to_customers"):
        job_spec("nothing")


@pytest.mark.parametrize("spec", JOBS.values(), ids=lambda spec: spec.task_key)
def test_every_job_may_be_played_as_it_is_written(spec: JobSpec, tmp_path: Path) -> None:
    write_job(spec, tmp_path, "tiny")
    pins = open_job(tmp_path / spec.task_key / PINS)
    check_files(pins)
    assert pins.job.statements == spec.statements
    assert {path.name for path in (tmp_path / spec.task_key).glob("*.jsonl")} == (
        {"right.jsonl", "wrong.jsonl"} if spec.is_trap else {"right.jsonl"}
    )


def graded(spec: JobSpec, statements: tuple[str, ...], folder: Path) -> EtlGrade:
    """The grader's grade; what is not equal is never timed."""
    with closing(SubmissionGrader(build(spec, folder / "job", "tiny"), seed=1)) as grader:
        grader.baseline()
        return grade_of(grader.grade(statements))


@pytest.mark.parametrize("task_key", ["unseen_users"])
def test_the_grader_refuses_a_trap(task_key: str, tmp_path: Path) -> None:
    grade = graded(JOBS[task_key], JOBS[task_key].wrong, tmp_path)
    assert (grade.verdict, grade.equal, grade.reward) == ("incorrect", False, 0.0)


@pytest.mark.soak
@pytest.mark.parametrize("spec", TRAPS, ids=lambda spec: spec.task_key)
def test_the_grader_refuses_every_trap_and_accepts_its_right_rewrite(spec: JobSpec, tmp_path: Path) -> None:
    wrong = graded(spec, spec.wrong, tmp_path / "wrong")
    right = graded(spec, spec.right, tmp_path / "right")
    assert (wrong.equal, wrong.reward) == (False, 0.0)
    assert right.equal
