"""Tie-break corroboration: honest ties pass, and what only looks like one does not."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, SignOff
from services.grader.etl.nondeterminism.classes import classified
from services.grader.etl.nondeterminism.rerun import RerunLimits, run_original
from services.grader.etl.nondeterminism.tiebreak import TieReport, TieRule, corroborate
from services.grader.etl.nondeterminism.ties import check_ties
from services.grader.etl.nondeterminism.widening import widened
from tests.nondeterminism import job_of, written

SOURCE = """SELECT * FROM (VALUES
    (1, 10, 'a', 1.5::DOUBLE, 5), (1, 10, 'b', 2.5, 6), (1, 9, 'old', 0.5, 7),
    (2, 20, 'c', 3.5, NULL), (2, 20, NULL, 4.5, 8),
    (3, 30, 'd', 'nan', 9), (NULL, 40, 'e', 5.5, 1), (NULL, 40, 'f', 6.5, 2)
    ) v(id, ts, name, score, size)"""
LEFT = "SELECT * FROM source WHERE name IN ('a', 'c', 'd', 'e')"
RULE = TieRule(key=("id",), order=("ts",), carried=("name", "score", "size"))
Judge = Callable[[str], TieReport]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Judges the result of a query over `source` and `picked`, the original's output."""

    def judged(right: str, left: str = LEFT, rule: TieRule = RULE) -> TieReport:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE source AS {SOURCE}")
            connection.execute(f"CREATE TABLE picked AS {left}")
            for name, query in (("left", "FROM picked"), ("right", right), ("source", "FROM source")):
                connection.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'")
        return corroborate(*(tmp_path / f"{name}.parquet" for name in ("left", "right", "source")), rule)

    return judged


def test_other_rows_of_the_tied_sets_are_corroborated(judge: Judge) -> None:
    found = judge("SELECT * FROM source WHERE name IN ('b', 'd', 'f') OR name IS NULL")
    assert (found.verdict, found.differing, found.ties) == ("corroborated", 3, 3)


def test_the_same_rows_are_corroborated_too(judge: Judge) -> None:
    assert judge("SELECT * FROM picked ORDER BY ts DESC").verdict == "corroborated"


def test_floats_may_drift_within_the_tolerance(judge: Judge) -> None:
    assert judge("SELECT * REPLACE (score * (1 + 1e-13) AS score) FROM picked").verdict == "corroborated"


@pytest.mark.parametrize(
    ("verdict", "right"),
    [
        ("foreign", "SELECT * REPLACE ('garbage' AS name) FROM picked"),
        ("foreign", "SELECT * REPLACE (NULL::VARCHAR AS name) FROM picked"),
        ("foreign", "SELECT * REPLACE (NULL::DOUBLE AS score) FROM picked"),
        ("foreign", "SELECT * REPLACE ('nan'::DOUBLE AS score) FROM picked"),
        ("foreign", "SELECT * REPLACE ('inf'::DOUBLE AS score) FROM picked"),
        ("foreign", "SELECT * REPLACE (score * (1 + 9e-7) AS score) FROM picked"),
        ("foreign", "SELECT * REPLACE (CASE WHEN id = 1 THEN 'b' ELSE name END AS name) FROM picked"),
        ("foreign", "SELECT * REPLACE (CASE WHEN id = 1 THEN 2.5 ELSE score END AS score) FROM picked"),
        ("foreign", "SELECT * REPLACE (first(name) OVER (ORDER BY ts DESC) AS name) FROM picked"),
        ("foreign", "SELECT * REPLACE (CASE WHEN id = 1 THEN 'old' ELSE name END AS name) FROM picked"),
        ("other_order", "SELECT * FROM picked WHERE id <> 1 OR id IS NULL UNION ALL FROM source WHERE name = 'old'"),
        ("other_order", "SELECT * REPLACE (ts + 1 AS ts) FROM picked"),
        ("other_order", "SELECT * REPLACE (NULL::INTEGER AS ts) FROM picked"),
        ("unpaired", "SELECT * FROM picked WHERE id < 3"),
        ("unpaired", "SELECT * FROM picked WHERE id IS NOT NULL"),
        ("unpaired", "SELECT * FROM picked UNION ALL SELECT * FROM picked"),
        ("unpaired", "SELECT * FROM source WHERE ts >= 10"),
        ("unpaired", "SELECT * FROM picked UNION ALL SELECT * REPLACE (4 AS id) FROM picked WHERE id = 3"),
        ("unpaired", "SELECT * REPLACE (coalesce(id, 0) AS id) FROM picked"),
        ("other_types", "SELECT * REPLACE (id::VARCHAR AS id) FROM picked"),
        ("other_types", "SELECT * REPLACE (score::FLOAT AS score) FROM picked"),
        ("other_types", "SELECT * EXCLUDE (name) FROM picked"),
        ("other_types", "SELECT *, 1 AS more FROM picked"),
    ],
)  # fmt: skip
def test_what_is_no_tie_is_not_corroborated(judge: Judge, verdict: str, right: str) -> None:
    found = judge(right)
    assert found.verdict == verdict
    assert found.examples or verdict == "other_types"


def test_values_of_two_tied_rows_in_one_are_told_from_values_of_none(judge: Judge) -> None:
    mixed = judge("SELECT * REPLACE (CASE WHEN id = 1 THEN 'b' ELSE name END AS name) FROM picked")
    foreign = judge("SELECT * REPLACE (CASE WHEN id = 1 THEN 'z' ELSE name END AS name) FROM picked")
    assert ((mixed.mixed, mixed.foreign), (foreign.mixed, foreign.foreign)) == ((1, 0), (0, 1))
    assert mixed.examples[0].left == ("10", "a", "1.5", "5")
    assert mixed.examples[0].right == ("10", "b", "1.5", "5")


def test_an_original_that_is_not_of_the_source_proves_nothing(judge: Judge) -> None:
    left = f"SELECT * REPLACE ('elsewhere' AS name) FROM ({LEFT})"
    assert judge("SELECT * FROM picked", left).verdict == "unproven"


def test_a_column_that_the_source_lacks_is_bad_input(judge: Judge) -> None:
    with pytest.raises(BadInput, match="has no column tall"):
        judge("SELECT * FROM picked", rule=TieRule(key=("id",), carried=("tall",)))


PICKS = {
    "row_number": "SELECT customer_id, ts, status, qty FROM (SELECT *, row_number() OVER "
    "(PARTITION BY customer_id ORDER BY ts DESC) AS rn FROM orders) WHERE rn = 1",
    "qualify": "SELECT customer_id, ts, status, qty FROM orders "
    "QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY ts DESC) = 1",
    "distinct on": "SELECT DISTINCT ON (customer_id) customer_id, ts, status, qty FROM orders "
    "ORDER BY customer_id, ts DESC",
    "arg_max": "SELECT customer_id, max(ts) AS ts, arg_max(status, ts) AS status, max_by(qty, ts) AS qty "
    "FROM orders GROUP BY 1",
    "first": "SELECT customer_id, first(status ORDER BY ts DESC) AS status, first(qty ORDER BY ts DESC) AS qty "
    "FROM orders GROUP BY customer_id",
    "any_value": "SELECT c.id, any_value(o.status) AS status, any_value(o.qty) AS qty "
    "FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY ALL",
}


def signed(job: EtlJob) -> EtlJob:
    signs = [SignOff(column=risk.column, kind=risk.kind, by="Ada", reason="any will do") for risk in job.risks]
    return classified(job).model_copy(update={"sign_offs": tuple(signs)})


@pytest.mark.parametrize("pick", PICKS)
def test_a_job_is_corroborated_by_its_own_ties(pick: str, tmp_path: Path) -> None:
    sources = written(tmp_path, 3000)
    job = signed(classified(job_of(PICKS[pick], sources=sources)))
    left, tied, right = (tmp_path / f"{name}.parquet" for name in ("left", "tied", "right"))
    run_original(job, 1, left, RerunLimits())
    run_original(job.model_copy(update={"statements": widened(job.statements)}), 1, tied, RerunLimits())
    key = job.output_columns[0].name
    another = f"SELECT DISTINCT ON ({key}) * FROM '{tied}' ORDER BY {key}, hash(status, qty)"
    mixed = f"SELECT * REPLACE (min(qty) OVER (PARTITION BY {key}) AS qty) FROM '{tied}'"
    mixed = f"SELECT DISTINCT ON ({key}) * FROM ({mixed}) ORDER BY {key}, status DESC, qty"
    verdicts = []
    for query in (another, mixed):
        duckdb.sql(f"COPY ({query}) TO '{right}'")
        found = check_ties(job, left, right)
        assert found is not None
        verdicts.append((found.verdict, found.differing > 0))
    assert verdicts == [("corroborated", True), ("foreign", True)]


def test_picks_that_cannot_be_widened_are_refused() -> None:
    for sql in (
        "SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY ts) AS rn FROM orders",
        "SELECT * FROM orders QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY ts) <= 2",
        "SELECT customer_id, arg_max(status, ts) AS s, arg_min(qty, ts) AS q FROM orders GROUP BY 1",
        "SELECT customer_id, mode(status) AS s FROM orders GROUP BY 1",
    ):
        with pytest.raises(BadInput, match="ties cannot be checked"):
            widened((sql,))


def test_without_a_signed_pick_there_is_nothing_to_corroborate(tmp_path: Path) -> None:
    job = classified(job_of(PICKS["qualify"]))
    assert check_ties(job, tmp_path / "left", tmp_path / "right") is None
