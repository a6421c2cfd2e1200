"""Which columns of two outputs of one job differ, by comparisons of the columns that a run may not change.

Invariant: a column is "no" only if the stable columns and it, taken together, are equal as bags.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from services.contracts.etl import EtlJob
from services.grader.tables.compare import compare
from services.grader.tables.verdict import Comparison, TableJob, TableRules

Difference = Literal["no", "drift", "yes"]
"""Equal; equal within the tolerance; different."""


def differing(job: EtlJob, left: Path, right: Path) -> dict[str | None, Difference]:
    """How each output column differs, and under None the set of rows. Raises BadInput, Infrastructure."""
    names = [column.name for column in job.output_columns]
    both = _Sides(left, right, names, [key.columns for key in job.contract.keys if key.table == job.output.lower()])
    whole = both.compared(names)
    if whole.verdict != "different":
        drifted = {drift.column for drift in whole.drift}
        return {None: "no", **{name: "drift" if name in drifted else "no" for name in names}}
    open_columns = {risk.column for risk in job.risks if risk.kind != "E"}
    stable = [name for name in names if name not in open_columns]
    found = both.rows(stable)
    if None in open_columns and "yes" in found.values():
        found[None] = "yes"
    agreed = [name for name in stable if found.get(name, "no") == "no"]
    for name in names:
        if name not in found:
            found[name] = both.verdict([*agreed, name], name)
    return found


class _Sides:
    """Two outputs of one job."""

    def __init__(self, left: Path, right: Path, names: list[str], keys: list[tuple[str, ...]]) -> None:
        self._left = left
        self._right = right
        self._names = names
        self._keys = keys

    def compared(self, names: Iterable[str]) -> Comparison:
        """The comparison of some columns, the others left out."""
        kept = set(names)
        rules = TableRules(ignore=tuple(name for name in self._names if name not in kept), examples=0)
        return compare(TableJob(left=str(self._left), right=str(self._right), rules=rules))

    def verdict(self, names: Iterable[str], about: str) -> Difference:
        """How a column differs, beside others."""
        found = self.compared(names)
        if found.verdict == "different":
            return "yes"
        return "drift" if any(drift.column == about for drift in found.drift) else "no"

    def rows(self, stable: list[str]) -> dict[str | None, Difference]:
        """The set of rows and, if they differ, which of the stable columns do by themselves."""
        whole = self.compared(stable or self._names)
        if not stable:
            return {None: "yes" if whole.left_rows != whole.right_rows else "no"}
        if whole.verdict != "different":
            drifted = {drift.column for drift in whole.drift}
            return {None: "no", **{name: "drift" if name in drifted else "no" for name in stable}}
        key = next((key for key in self._keys if set(key) <= set(stable)), ())
        found: dict[str | None, Difference] = {name: self.verdict([*key, name], name) for name in stable}
        alone = any(difference == "yes" for difference in found.values())
        found[None] = "no" if alone and whole.left_rows == whole.right_rows else "yes"
        return found
