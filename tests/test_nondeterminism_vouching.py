"""What is asked of columns that the comparison leaves out."""

import re
from pathlib import Path

import duckdb
import pytest

from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, SignOff
from services.grader.etl.nondeterminism.classes import classified
from services.grader.etl.nondeterminism.rerun import RerunLimits, run_original
from services.grader.etl.nondeterminism.shape import shape_changes
from services.grader.etl.nondeterminism.vouching import Vouched, vouch
from tests.nondeterminism import job_of, written

SQL = (
    "SELECT customer_id, ts, status, qty, now() AS loaded_at, uuid() AS batch_uuid FROM orders "
    "QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY ts DESC) = 1"
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> EtlJob:
    found = classified(job_of(SQL, sources=written(tmp_path_factory.mktemp("sources"), 1500)))
    signs = [SignOff(column=risk.column, kind=risk.kind, by="Ada", reason="any") for risk in found.risks]
    return found.model_copy(update={"sign_offs": tuple(signs)})


def judged(job: EtlJob, folder: Path, change: str) -> Vouched:
    left, right = folder / "left.parquet", folder / "right.parquet"
    run_original(job, 1, left, RerunLimits())
    duckdb.sql(f"COPY (SELECT {change} FROM '{left}') TO '{right}'")
    return vouch(job, left, right)


def test_new_stamps_and_the_same_picks_are_sound(job: EtlJob, tmp_path: Path) -> None:
    found = judged(job, tmp_path, "* REPLACE (now() AS loaded_at, uuid() AS batch_uuid)")
    assert (found.sound, found.reason) == (True, "")
    assert found.columns == ("status", "qty", "loaded_at", "batch_uuid")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("* REPLACE (NULL::TIMESTAMPTZ AS loaded_at)", "loaded_at is empty, 97 NULL where it should be one, 0 NULL"),
        ("* REPLACE (now() + to_days(customer_id::INT) AS loaded_at)", "loaded_at is distinct"),
        ("* REPLACE (min(batch_uuid) OVER () AS batch_uuid)", "batch_uuid is one"),
        ("* REPLACE (nullif(batch_uuid, max(batch_uuid) OVER ()) AS batch_uuid)", "batch_uuid is distinct, 1 NULL"),
        ("* REPLACE (status || '!' AS status)", r"status, qty: no mere ties \(foreign, 97 of 97 rows\)"),
    ],
)
def test_stamps_without_values_and_picks_from_nowhere_are_not_sound(
    job: EtlJob, tmp_path: Path, change: str, said: str
) -> None:
    found = judged(job, tmp_path, change)
    assert not found.sound
    assert re.search(said, found.reason), found.reason


def test_nothing_is_asked_where_nothing_is_left_out(tmp_path: Path) -> None:
    found = vouch(classified(job_of("SELECT id FROM orders")), tmp_path / "left", tmp_path / "right")
    assert (found.sound, found.columns) == (True, ())


def test_a_column_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "left.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS a) TO '{path}'")
    with pytest.raises(BadInput, match="no column b"):
        shape_changes(path, path, ["b"])
