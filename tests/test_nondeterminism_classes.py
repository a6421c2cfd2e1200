"""The classes of 100 and more statements, and what may not change them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.contracts.etl import TableColumn
from services.grader.etl.nondeterminism.classes import classify
from tests.nondeterminism import job_of

CASES = yaml.safe_load((Path(__file__).parent / "data" / "nondeterminism.yaml").read_text())


def classes(risks: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for risk in risks:
        name = risk.column or "*"
        found[name] = found.get(name, "") + risk.kind
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(str(case["sql"]).split())[:90])
def test_a_statement_has_the_classes_that_are_written_beside_it(case: Any) -> None:
    columns = None
    if "columns" in case:
        columns = tuple(TableColumn(name=name, type=kind) for name, kind in case["columns"].items())
    found = classify(job_of(case["sql"], columns))
    assert classes(found.risks) == case.get("risks", {}), [risk.reason for risk in found.risks]
    assert list(found.excluded) == case.get("excluded", [])


def _documented() -> list[tuple[str, str]]:
    page = (Path(__file__).parent.parent / "docs" / "nondeterminism.md").read_text()
    return re.findall(r"^\| `(SELECT .*)` \| (.*) \|$", page, re.MULTILINE)


@pytest.mark.parametrize(("sql", "risks"), _documented())
def test_the_queries_of_the_page_have_the_risks_that_it_says(sql: str, risks: str) -> None:
    columns = (
        (TableColumn(name="id", type="BIGINT"), TableColumn(name="s", type="VARCHAR")) if "score_of" in sql else None
    )
    found = classes(classify(job_of(sql, columns)).risks)
    said = " ".join(f"{'rows' if name == '*' else f'`{name}`'} {kinds}" for name, kinds in found.items())
    assert (said or "none") == risks


def test_the_page_has_all_of_its_queries() -> None:
    assert len(_documented()) == 15
