"""docs/evaluate.md from one's own tables to a comparison of two models: the files and commands of the page itself."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.listening import check_port
from tests.test_cli import ROOT, assay

PAGE = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
WALK = PAGE.partition("## From your own tables to a comparison of two models\n")[2].partition("\n## ")[0]
_FILE = re.compile(r"^`([^`\n]+)`:\n\n((?:    .*\n)+)", re.MULTILINE)
_COMMAND = re.compile(r"^    assay (.+)$", re.MULTILINE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, text in _FILE.findall(WALK):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(re.sub(r"^    ", "", text, flags=re.MULTILINE), encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(place: Path) -> Iterator[str]:
    """The port of the page's server, started by the page's own command."""
    (command,) = [line for line in _COMMAND.findall(WALK) if line.endswith("&")]
    port = str(check_port("127.0.0.1", 0))
    arguments = shlex.split(command.removesuffix("&").replace("8000", port))
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", *arguments],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"http://127.0.0.1:{port}")
    yield port
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.mark.soak  # tests/test_evaluate.py has what each command does
def test_every_command_of_the_page_does_what_the_page_says(
    place: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = place / "shop.yaml"
    config.write_text(config.read_text().replace("8000", server))
    said = []
    for line in _COMMAND.findall(WALK):
        if not line.endswith("&"):
            done = assay(*shlex.split(line), cwd=place)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            said.append(done.stdout)
    assert "10 of 10 questions admitted" in said[0]
    report = json.loads((place / "runs/shop/report.json").read_text())
    assert (report["planned"], report["graded"]) == (40, 40)
    (one,) = report["comparisons"]
    assert "heuristic" in one["a"]
    assert "rule-based" in one["b"]
    assert one["only_a"] > one["only_b"]
    page = (place / "runs/shop/report.md").read_text()
    for chart in re.findall(r"!\[.*\]\((.+)\)", page):
        assert (place / "runs/shop" / chart).read_text().startswith("<?xml")
