"""A job whose picks a person signed for: any of the tied rows will do, and nothing else in those columns."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, SignOff
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.nondeterminism.classes import classified
from services.grader.etl.submission import grade_of
from services.grader.runtime.job import Comparison as Sides
from services.grader.runtime.measurement import Measurement
from tests.etl_jobs import etl_job, judge_here, public_folder, run_here

TABLES = {
    "sales.orders": (
        "SELECT i AS id, i % 41 AS customer, 'note ' || i AS note, (i * 37) % 101 AS amount, "
        "DATE '2024-01-01' + (i % 3)::INT AS day FROM range(1, 901) r(i)"
    )
}
MAKE = "CREATE TABLE sales.daily AS "
RANKED = "row_number() OVER (PARTITION BY customer ORDER BY day DESC)"
ORIGINAL = f"{MAKE}SELECT customer, day, note, amount, now() AS loaded_at FROM sales.orders QUALIFY {RANKED} = 1"
TIED = f"SELECT customer, day, note, amount FROM sales.orders QUALIFY rank{RANKED.removeprefix('row_number')} = 1"
ANOTHER = f"SELECT DISTINCT ON (customer) * FROM ({TIED}) ORDER BY customer, amount DESC, note"


class AtTheClock(Exception):
    """Everything was equal: the rewrite would be timed."""


def at_the_clock(sides: Sides, keep: Path) -> Measurement:
    raise AtTheClock


def signed(job: EtlJob) -> EtlJob:
    found = classified(job)
    signs = [SignOff(column=risk.column, kind=risk.kind, by="Ada", reason="any") for risk in found.risks]
    return found.model_copy(update={"sign_offs": tuple(signs)})


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = public_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def grader(folder: Path) -> Iterator[SubmissionGrader]:
    job = signed(etl_job(folder, (ORIGINAL,), TABLES))
    made = SubmissionGrader(job, seed=1, judge=judge_here, run=run_here, measure=at_the_clock)
    yield made
    made.close()


def test_the_original_and_production_are_vouched_for(grader: SubmissionGrader) -> None:
    assert grader.baseline()[1].equal


def test_a_rewrite_that_picks_other_tied_rows_is_timed(grader: SubmissionGrader) -> None:
    with pytest.raises(AtTheClock):
        grader.grade((f"{MAKE}SELECT *, now() AS loaded_at FROM ({ANOTHER})",))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (f"SELECT * REPLACE ('' AS note), now() AS loaded_at FROM ({ANOTHER})", "note, amount: no mere ties (foreign"),
        (f"SELECT customer, any_value(day) AS day, min(note) AS note, min(amount) AS amount, now() AS loaded_at "
         f"FROM ({TIED}) GROUP BY customer", "note, amount: no mere ties (foreign"),
        (f"SELECT *, NULL::TIMESTAMPTZ AS loaded_at FROM ({ANOTHER})", "loaded_at is empty, 41 NULL"),
        (f"SELECT customer, any_value(day) AS day, NULL::VARCHAR AS note, 0::BIGINT AS amount, now() AS loaded_at "
         f"FROM ({TIED}) GROUP BY customer", "no mere ties (foreign"),
    ],
)  # fmt: skip
def test_what_stands_in_no_tied_row_is_not_paid(grader: SubmissionGrader, rows: str, said: str) -> None:
    grade = grade_of(grader.grade((MAKE + rows,)))
    assert (grade.verdict, grade.reward, grade.equal) == ("incorrect", 0.0, False)
    assert said in grade.reason


def test_a_pick_that_nothing_can_corroborate_is_refused_before_anybody_plays(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    job = signed(etl_job(other, (ORIGINAL.replace("= 1", "<= 2"),), TABLES))
    made = SubmissionGrader(job, seed=1, judge=judge_here, run=run_here, measure=at_the_clock)
    with pytest.raises(BadInput, match=r"no stable columns name a row|ties cannot be checked"):
        made.baseline()
    made.close()
