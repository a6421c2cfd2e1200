"""`assay diff` as a person uses it, and every command of docs/diff.md."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

from cluster.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "diff.md").read_text()
COMMANDS = re.findall(r"(?m)^    \$ assay (.*)\n    (.*)$", PAGE)
EXPECTED = {"identical": 0, "equal within": 0, "different": 1, '"verdict": "different"': 1}
Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a line of `assay` in a folder that has the files of the page: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    source = "\n".join(line[4:] for line in PAGE.splitlines() if re.match(r"    (import|orders|duckdb)", line))
    exec(source, {"duckdb": duckdb})

    def running(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["assay", *shlex.split(line)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return running


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 6


@pytest.mark.parametrize(("line", "shown"), COMMANDS)
def test_the_commands_of_the_page_do_what_it_says(run: Run, line: str, shown: str) -> None:
    code, out, err = run(line)
    assert shown in out
    assert err == ""
    assert code == next(code for start, code in EXPECTED.items() if shown.startswith(start))


def test_text_shows_drift_and_counterexamples(run: Run) -> None:
    _, drift, _ = run("diff before.parquet drifted.parquet")
    assert "worst relative" in drift
    code, out, _ = run("diff before.parquet wrong.parquet --key id")
    assert code == 1
    assert out.count("changed: item") == 2
    assert "item two" in out


def test_json_is_whole(run: Run) -> None:
    code, out, _ = run("diff before.parquet wrong.parquet --json --key id --rtol 0 --atol 0")
    found = json.loads(out)
    assert code == 1
    assert (found["changed"], found["rules"]["key"], found["rules"]["rtol"]) == (2, ["id"], 0.0)
    assert found["counterexamples"][0]["right"] == {"id": "2", "item": "item two", "amount": "0.2"}


class Tags(HTMLParser):
    """The tags of a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_html_page_needs_nothing_else_and_hides_nothing(run: Run, tmp_path: Path) -> None:
    duckdb.sql("COPY (SELECT 1 AS id, '<script>alert(1)</script>' AS item) TO 'evil.parquet'")
    duckdb.sql("COPY (SELECT 1 AS id, NULL::VARCHAR AS item) TO 'none.parquet'")
    code, _, _ = run("diff evil.parquet none.parquet --html result.html")
    assert code == 1
    page = Tags()
    text = (tmp_path / "result.html").read_text()
    page.feed(text)
    assert "script" not in page.tags
    assert page.loads == []
    assert "&lt;script&gt;" in text
    assert "different" in text


def test_control_characters_of_a_table_do_not_reach_the_terminal(run: Run) -> None:
    duckdb.sql("COPY (SELECT chr(27) || '[2J[red]' AS item) TO 'evil.parquet'")
    duckdb.sql("COPY (SELECT '' AS item) TO 'none.parquet'")
    _, out, _ = run("diff evil.parquet none.parquet")
    assert "\x1b" not in out
    assert "\\x1b[2J[red]" in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("diff before.parquet none.parquet", "there is nothing at none.parquet"),
        ("diff before.parquet after.parquet --key nam", "unknown key column nam"),
        ("diff before.parquet after.parquet --ignore itme", "unknown ignored column itme; did you mean item?"),
        ("diff before.parquet after.parquet --rtol 2", "--rtol must be at least 0 and below 1"),
        ("diff before.parquet after.parquet --atol nan", "--atol at least 0"),
        ("diff before.parquet after.parquet --html none/x.html", "cannot write none/x.html"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run: Run, line: str, said: str) -> None:
    code, out, err = run(line)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_the_command_itself_ends_with_the_code_of_the_verdict(tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        duckdb.sql(f"COPY (SELECT {value} AS x) TO '{tmp_path}/{name}.parquet'")
    command = [sys.executable, "-m", "cluster.cli", "diff", f"{tmp_path}/one.parquet", f"{tmp_path}/two.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    assert done.stdout.startswith("different: 1 and 1 rows")
    assert done.stderr == ""
