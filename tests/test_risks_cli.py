"""`assay risks` as a person uses it."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.cli import main
from tests.etl_world import DAILY, make_production, write_job

Run = Callable[[str], tuple[int, str, str]]
PICK = DAILY.replace("sum(amount) AS total", "any_value(amount) AS total")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a line of `assay` in a folder with a job: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    write_job(make_production(tmp_path))

    def running(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["assay", *shlex.split(line)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return running


def test_a_stable_job_has_none_and_the_proof_agrees(run: Run) -> None:
    code, said, _ = run("risks JOB.yaml --prove")
    assert (code, said.splitlines()) == (0, [
        "By its SQL the output is the same in every run.", "In 5 runs of the original differed: nothing",
    ])  # fmt: skip


def test_an_open_pick_is_shown_and_written_to_be_signed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "daily.sql").write_text(PICK)
    code, said, _ = run("risks JOB.yaml")
    file = tmp_path / "JOB.daily.sign-offs.yaml"
    assert (code, "open" in said, file.exists()) == (1, True, True)
    assert "sign JOB.daily.sign-offs.yaml" in said
    file.write_text(file.read_text().replace("signed_by: ''", "signed_by: Ada").replace("because: ''", "because: any"))
    code, said, _ = run("risks JOB.yaml")
    assert (code, "signed" in said) == (0, True)


def test_json_has_the_risks_and_the_proof(run: Run, tmp_path: Path) -> None:
    (tmp_path / "daily.sql").write_text(PICK)
    code, said, _ = run("risks JOB.yaml --json --prove")
    found = json.loads(said)
    assert (code, [risk["kind"] for risk in found["open"]], found["proof"]["found"]) == (1, ["B"], [])


def test_a_stale_file_is_bad_input_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "daily.sql").write_text(PICK)
    run("risks JOB.yaml")
    (tmp_path / "daily.sql").write_text(PICK.replace("any_value", "first"))
    code, _, said = run("risks JOB.yaml")
    assert (code, "written for other statements" in said, len(said.splitlines())) == (2, True, 1)
