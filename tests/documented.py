"""The queries of docs/trajectories.md, and whether an evaluation's report.json says what they find."""

import json
import re
from pathlib import Path

import duckdb
import pytest

from services.contracts.grading import COMPONENTS
from tests.test_cli import ROOT

_QUERY = re.compile(r"^    (SELECT (?:.|\n)*?;)$", re.MULTILINE)


def check_report_against_queries(run: Path) -> int:
    """Assert that both agree in every figure that the queries give; returns the graded episodes."""
    by_difficulty, by_policy = _QUERY.findall((ROOT / "docs" / "trajectories.md").read_text(encoding="utf-8"))
    report = json.loads((run / "report.json").read_text())
    told = [
        (
            *(one["policy"], one["graded"], one["success"]["mean"], one["reward"]["mean"], one["steps"]),
            *(one["components"][name] for name in COMPONENTS),
        )
        for one in report["policies"]
    ]
    assert asked(by_policy, run) == [nearly(row) for row in told]
    slices = [one for one in report["slices"] if one["dimension"] == "difficulty"]
    told = [
        (one["policy"], one["value"], one["graded"], one["success"]["mean"], one["reward"]["mean"]) for one in slices
    ]
    assert asked(by_difficulty, run) == [nearly(row) for row in told]
    return int(report["graded"])


def asked(query: str, run: Path) -> list[tuple[object, ...]]:
    """The rows that a documented query finds in a run."""
    return duckdb.sql(query.replace("RUN/", f"{run}/")).fetchall()


def nearly(row: tuple[object, ...]) -> tuple[object, ...]:
    """The row, its numbers equal to within the order in which they were added up."""
    return tuple(pytest.approx(item, rel=1e-12, abs=1e-12) if isinstance(item, float) else item for item in row)
