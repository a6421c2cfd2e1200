"""The walk of docs/etl.md: two Parquet files and a SQL file become a proposal, by the page's own commands."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.cli import main
from cluster.etl.pinning import read_pins
from services.grader.etl.submission import Submission, grade_of
from tests.etl_jobs import public_folder

PAGE = (Path(__file__).parents[1] / "docs" / "etl.md").read_text()
WALK = PAGE[PAGE.index("## From two Parquet files") : PAGE.index("## The sandbox")]
BLOCKS = dict(re.findall(r"```(python|sql|yaml)\n(.*?)```", WALK, re.DOTALL))
COMMANDS = re.findall(r"^    \$ assay (.+)\n    (.+)$", WALK, re.MULTILINE)
PARTS = ("-    SELECT DISTINCT", "99 % interval", "key of orders: id", "production's pinned output", "| 2 | VERIFY")
Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with the files of the page."""
    made = public_folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        exec(BLOCKS["python"], {})
        Path("daily.sql").write_text(BLOCKS["sql"])
        Path("job.yaml").write_text(BLOCKS["yaml"])
        yield made
    shutil.rmtree(made)


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a line of `assay` in that folder: exit code, stdout, stderr."""

    def running(line: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["assay", *shlex.split(line)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return running


def test_the_walk_ends_in_a_proposal(run: Run, folder: Path) -> None:
    (line, shown), (regrade, agreed), (again, refused) = COMMANDS
    code, out, err = run(line)
    assert (code, shown in out) == (0, True), out + err
    assert " SUBMIT (" in err

    proposal, page = ((folder / "first" / name).read_text() for name in ("proposal.md", "proposal.html"))
    for part in (
        "-    SELECT DISTINCT",
        "99 % interval",
        "key of orders: id",
        "production's pinned output",
        "| 2 | VERIFY",
    ):
        assert part in proposal
    assert "Proposal</span> daily of job 4711" in page
    submission = Submission.model_validate_json((folder / "first" / "submission.json").read_text())
    result = json.loads((folder / "first" / "result.json").read_text())
    assert grade_of(submission).model_dump() == result["grade"]
    assert 0 < result["reward"] <= 1
    assert [check.where for check in submission.checks] == [
        "production", "dropped", "permuted", "shuffled", "edges", "timed",
    ]  # fmt: skip
    told = (folder / "first" / "messages.json").read_text()
    production = read_pins(folder / "first" / "pins.json").job.after
    assert not any(path in told for path in production.files)

    assert run(regrade)[:2] == (0, f"{agreed}\n")
    result_file = folder / "first" / "result.json"
    result_file.write_text(json.dumps(result | {"reward": -1.0}))
    assert run(regrade)[:2] == (
        1,
        f"reward: stored -1.0, derived {result['reward']}\n1 submission regraded, 1 differences\n",
    )
    result_file.write_text(json.dumps(result))
    assert "are gone" in run(f"{regrade} --remeasure")[2]
    code, out, err = run(again)
    assert (code, out.startswith(refused)) == (1, True), out + err


def test_a_trace_has_the_reasoning_beside_input_and_output(folder: Path) -> None:
    events = [json.loads(line) for line in (folder / "first" / "trace.jsonl").read_text().splitlines()]
    steps = sum(event["event"] == "step" for event in events)
    assert steps >= 3
    assert [event["event"] for event in events] == ["start", "baseline", *["action", "step"] * steps, "end"]
    step = events[3]
    assert step["tool"] == "RUN"
    assert step["reasoning"].startswith("try distinct_on_key")
    assert step["input"]["statements"]
    assert "279 rows in daily" in step["output"]
    messages = json.loads((folder / "first" / "messages.json").read_text())
    assert [message["role"] for message in messages] == ["system", "user", *["assistant", "tool"] * steps]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimize job.yaml --policy nobody --out a", "unknown ETL policy nobody"),
        ("optimize job.yaml --task weekly --out b", "is of task daily, not weekly"),
        ("optimize job.yaml --out first", "is there already and not empty"),
        ("optimize job.yaml --pay gold --out c", "--pay gold is none of"),
        ("optimize nothing.yaml --out d", "cannot read the job"),
        ("optimize job.yaml --param day --out e", "expected NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_clear_line(run: Run, line: str, said: str) -> None:
    code, out, err = run(line)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_risk_that_nobody_has_signed_ends_with_the_file_to_sign(run: Run, folder: Path) -> None:
    first = "row_number() OVER (PARTITION BY shop ORDER BY day) = 1"
    (folder / "pick.sql").write_text(f"CREATE TABLE daily AS SELECT shop, note FROM orders QUALIFY {first}")
    (folder / "pick.yaml").write_text((folder / "job.yaml").read_text().replace("daily.sql", "pick.sql"))
    code, _, err = run("optimize pick.yaml --out picked")
    assert code == 2
    assert "sign pick.daily.sign-offs.yaml" in err
    assert "signed_by" in (folder / "pick.daily.sign-offs.yaml").read_text()
