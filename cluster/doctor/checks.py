"""One row of what the doctor found, and all rows together. Whoever reads a row that is not ok also reads what to do."""

from typing import Literal

from pydantic import Field

from services.contracts.record import Record

Group = Literal["sandbox child", "statements", "machine", "ray", "optional parts"]
State = Literal["ok", "missing", "failed", "optional, not installed"]


class Check(Record):
    """One thing that was looked at. `missing` is not there, or less than wanted; `failed` was tried and went wrong."""

    group: Group
    name: str
    state: State
    seen: str = Field(description="what was found, for a person to judge")
    advice: str = Field(default="", description="what to do; empty if the state is ok")
    required: bool = Field(default=True, description="whether the machine is not fit for Assay without it")

    @property
    def is_fault(self) -> bool:
        """Whether this row alone makes the machine unfit."""
        return self.required and self.state in ("missing", "failed")


class Diagnosis(Record):
    """Everything that the doctor found, in the order in which it looked."""

    checks: tuple[Check, ...]

    @property
    def fine(self) -> bool:
        """Whether everything that is required is there."""
        return not self.faults()

    def faults(self) -> list[Check]:
        """The rows that make the machine unfit."""
        return [check for check in self.checks if check.is_fault]


def judged(
    group: Group, name: str, fine: bool, seen: str, advice: str, required: bool = True, otherwise: State = "missing"
) -> Check:
    """A row that is ok if `fine` holds, and `otherwise` with its advice if it does not."""
    if fine:
        return Check(group=group, name=name, state="ok", seen=seen, required=required)
    return Check(group=group, name=name, state=otherwise, seen=seen, advice=advice, required=required)
