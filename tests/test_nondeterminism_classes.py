"""The classes of 100 and more statements, and what may not change them."""

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
