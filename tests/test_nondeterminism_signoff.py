"""The sign-off file, and which jobs pass with it."""

from pathlib import Path

import pytest
import yaml

from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob
from services.grader.etl.nondeterminism.classes import classified
from services.grader.etl.nondeterminism.signoff import (
    admit,
    left_out,
    open_risks,
    read_sign_offs,
    to_corroborate,
    write_sign_off,
)
from tests.nondeterminism import job_of

SQL = (
    "SELECT customer_id, any_value(status) AS status, list(qty) AS sizes, sum(amount) AS total, now() AS loaded_at, "
    "now() AS moment FROM orders GROUP BY customer_id"
)


@pytest.fixture
def job() -> EtlJob:
    return classified(job_of(SQL))


@pytest.fixture
def file(job: EtlJob, tmp_path: Path) -> Path:
    path = tmp_path / "sign-off.yaml"
    write_sign_off(job, path)
    return path


def edit(path: Path, **answers: str) -> None:
    content = yaml.safe_load(path.read_text())
    for entry in content["risks"]:
        if entry["column"] in answers:
            entry.update(signed_by="Ada Lovelace", because=answers[entry["column"]])
    path.write_text(yaml.safe_dump(content))


def test_the_file_lists_what_a_person_has_to_answer_for_and_nothing_else(job: EtlJob, file: Path) -> None:
    entries = yaml.safe_load(file.read_text())["risks"]
    assert [(entry["column"], entry["kind"], entry["signed_by"]) for entry in entries] == [
        ("status", "B", ""), ("sizes", "C", ""), ("moment", "A", ""),
    ]  # fmt: skip
    assert job.excluded == ("loaded_at",)


def test_an_untouched_file_signs_nothing(job: EtlJob, file: Path) -> None:
    assert read_sign_offs(job, file) == ()


def test_a_signed_job_passes_and_leaves_the_signed_columns_out(job: EtlJob, file: Path) -> None:
    edit(file, status="any of them", sizes="a set", moment="a stamp")
    signed = job.model_copy(update={"sign_offs": read_sign_offs(job, file)})
    admit(signed)
    assert open_risks(signed) == ()
    assert left_out(signed) == ("status", "sizes", "loaded_at", "moment")
    assert to_corroborate(signed) == ("status",)


def test_a_partly_signed_job_says_what_is_open(job: EtlJob, file: Path) -> None:
    edit(file, status="any of them")
    signed = job.model_copy(update={"sign_offs": read_sign_offs(job, file)})
    assert left_out(signed) == ("status", "loaded_at")
    with pytest.raises(BadInput, match=r"nobody has signed off.*column sizes.*column moment"):
        admit(signed, file=file)


def test_in_training_a_signed_pick_is_refused_all_the_same(job: EtlJob, file: Path) -> None:
    edit(file, status="any of them", sizes="a set", moment="a stamp")
    signed = job.model_copy(update={"sign_offs": read_sign_offs(job, file)})
    with pytest.raises(BadInput, match="cannot be trained on: column status"):
        admit(signed, training=True)


def test_in_training_run_stamps_and_float_sums_pass() -> None:
    sql = "SELECT customer_id, sum(amount) AS total, now() AS loaded_at FROM orders GROUP BY 1"
    admit(classified(job_of(sql)), training=True)


def test_what_is_written_again_keeps_the_signatures(job: EtlJob, file: Path) -> None:
    edit(file, status="any of them")
    signed = job.model_copy(update={"sign_offs": read_sign_offs(job, file)})
    write_sign_off(signed, file)
    assert read_sign_offs(job, file) == signed.sign_offs


def test_a_row_set_and_columns_with_odd_names_come_back(tmp_path: Path) -> None:
    job = classified(job_of('SELECT random() AS "no", random() AS "null", random() AS "1: x" FROM orders LIMIT 3'))
    path = tmp_path / "sign-off.yaml"
    write_sign_off(job, path)
    text = path.read_text().replace("signed_by: ''", "signed_by: Ada").replace("because: ''", "because: fine")
    path.write_text(text)
    assert [sign.column for sign in read_sign_offs(job, path)] == [None, "no", "null", "1: x"]


@pytest.mark.parametrize(
    ("said", "old", "new"),
    [
        ("is about no risk", "column: status", "column: statuz"),
        ("is about no risk", "kind: B", "kind: C"),
        ("is stale", "any row of its group", "some row of its group"),
        ("written for other statements", "statements: ", "statements: 0"),
        ("is about task", "task: daily", "task: weekly"),
        ("without saying why", "signed_by: ''", "signed_by: Ada"),
        ("no YAML", "risks:", "risks: ["),
        ("risks", "risks:", "rizks:"),
        ("signed_by", "signed_by: ''", "signed_by: [Ada]"),
        ("signed", "signed_by: ''", "signed: ''"),
    ],
)
def test_a_file_that_does_not_fit_is_bad_input(job: EtlJob, file: Path, said: str, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=said):
        read_sign_offs(job, file)


def test_an_entry_twice_is_bad_input(job: EtlJob, file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    content["risks"].append(content["risks"][0])
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput, match="two entries"):
        read_sign_offs(job, file)


def test_a_signature_of_another_job_does_not_count(file: Path) -> None:
    other = classified(job_of(SQL.replace("any_value", "first")))
    with pytest.raises(BadInput, match="other statements"):
        read_sign_offs(other, file)


def test_a_file_that_is_not_there_is_bad_input(job: EtlJob, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_sign_offs(job, tmp_path / "nothing.yaml")
