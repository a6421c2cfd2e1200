"""The original again: what really differs over shuffled rows and other thread counts is found and told by column."""

from pathlib import Path

import pytest
import yaml

from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, PinnedTable
from services.grader.etl.nondeterminism.classes import classified
from services.grader.etl.nondeterminism.rerun import RerunLimits, RerunReport, Variation, rerun
from tests.nondeterminism import job_of, written

PLAN = (Variation(threads=1), Variation(threads=4, order=1), Variation(threads=1, order=2))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[PinnedTable, ...]:
    return written(tmp_path_factory.mktemp("sources"), 6000)


def shown(report: RerunReport) -> dict[str, tuple[str, str]]:
    return {outcome.column or "*": (outcome.classed, outcome.differed) for outcome in report.columns}


def test_picks_orders_and_drifts_differ_as_they_are_classed(sources: tuple[PinnedTable, ...]) -> None:
    sql = (
        "SELECT customer_id, first(status) AS f, list(qty) AS l, sum(amount) AS total, sum(price) AS exact, "
        "row_number() OVER (ORDER BY count(*), customer_id) AS rn FROM orders GROUP BY customer_id"
    )
    report = rerun(classified(job_of(sql, sources=sources)), PLAN)
    assert report.found == ()
    assert shown(report) == {
        "*": ("", "no"), "customer_id": ("", "no"), "f": ("B", "yes"), "l": ("C", "yes"), "total": ("E", "drift"),
        "exact": ("", "no"), "rn": ("", "no"),
    }  # fmt: skip


def test_ties_of_row_number_differ_and_their_keys_do_not(sources: tuple[PinnedTable, ...]) -> None:
    sql = (
        "SELECT customer_id, ts, status, qty FROM (SELECT *, row_number() OVER (PARTITION BY customer_id "
        "ORDER BY ts DESC) AS rn FROM orders) WHERE rn = 1"
    )
    report = rerun(classified(job_of(sql, sources=sources)), PLAN)
    assert report.found == ()
    assert {name for name, (_, differed) in shown(report).items() if differed == "yes"} == {"status", "qty"}


def test_a_row_set_that_differs_is_told(sources: tuple[PinnedTable, ...]) -> None:
    report = rerun(classified(job_of("SELECT id, qty FROM orders LIMIT 50", sources=sources)), PLAN)
    assert report.found == ()
    assert shown(report)["*"] == ("D", "yes")


@pytest.mark.parametrize(
    ("sql", "column", "kind"),
    [
        ("SELECT customer_id, first(status) AS f, count(*) AS n FROM orders GROUP BY 1", "f", "F"),
        ("SELECT customer_id, sum(amount) AS total FROM orders GROUP BY 1", "total", "E"),
        ("SELECT id, qty FROM orders LIMIT 50", "id", "F"),
    ],
)
def test_what_differs_without_a_class_is_a_new_risk(
    sources: tuple[PinnedTable, ...], sql: str, column: str, kind: str
) -> None:
    report = rerun(job_of(sql, sources=sources), PLAN)
    assert (column, kind) in {(risk.column, risk.kind) for risk in report.found}
    assert all("SQL" in risk.reason for risk in report.found)


def test_rows_that_are_paired_otherwise_are_a_new_risk_of_the_row_set(sources: tuple[PinnedTable, ...]) -> None:
    sql = "SELECT id, row_number() OVER (ORDER BY ts) AS rn FROM orders"
    report = rerun(job_of(sql, sources=sources), PLAN)
    assert [(risk.column, risk.kind) for risk in report.found] == [(None, "F")]


def test_an_increment_starts_from_what_was_there_before(sources: tuple[PinnedTable, ...]) -> None:
    orders = sources[0]
    before = orders.model_copy(update={"name": "mart.out"})
    job = job_of("SELECT * FROM orders", sources=sources).model_copy(
        update={
            "statements": ("INSERT INTO mart.out SELECT * REPLACE (id + 10000 AS id) FROM orders",),
            "mode": "insert",
            "output": "mart.out",
            "before": before,
        }
    )
    report = rerun(classified(job), PLAN)
    assert (report.found, {differed for _, differed in shown(report).values()}) == ((), {"no"})


def test_an_original_that_fails_is_bad_input(sources: tuple[PinnedTable, ...]) -> None:
    with pytest.raises(BadInput, match="cannot be run again"):
        rerun(job_of("SELECT error('no') AS e FROM orders", sources=sources), PLAN)


def test_an_original_that_takes_too_long_is_stopped(sources: tuple[PinnedTable, ...]) -> None:
    sql = "SELECT count(*) AS n FROM orders a, orders b, orders c WHERE hash(a.id, b.id, c.id) = 7"
    with pytest.raises(BadInput, match="too slow"):
        rerun(job_of(sql, sources=sources), PLAN[:1], RerunLimits(deadline_s=0.3))


@pytest.mark.soak
def test_no_statement_of_the_table_differs_where_it_is_classed_stable(sources: tuple[PinnedTable, ...]) -> None:
    cases = yaml.safe_load((Path(__file__).parent / "data" / "nondeterminism.yaml").read_text())
    found = {}
    for case in cases:
        if "columns" not in case:
            job: EtlJob = classified(job_of(case["sql"], sources=sources))
            report = rerun(job, (*PLAN, Variation(threads=2, order=3)))
            found.update({str(case["sql"]): report.found} if report.found else {})
    assert found == {}
