"""What a rewrite is paid, with all that it is derived from: the timings, the equality of the outputs, the rules.

Invariant: `finding`, `split` and `reward` are functions of the other fields.
"""

from collections.abc import Sequence

from pydantic import Field

from services.contracts.record import Record
from services.grader.runtime.baseline import GainSplit, split_gain
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.pay import PayRules, pay
from services.grader.runtime.verdict import Finding, derive
from services.grader.tables.verdict import Comparison as TableComparison

FEWEST_TO_SPLIT = 2


class RuntimeGrade(Record):
    """The grade of one rewrite beside its original."""

    measurement: Measurement
    equality: TableComparison | None = Field(description="of one pair's outputs; None: a side put nothing out")
    rules: PayRules
    history_s: tuple[float, ...] = Field(default=(), description="seconds of production's runs of the original")
    finding: Finding
    split: GainSplit | None = Field(description="of the gain over production; None without a history or timed pairs")
    reward: float | None = Field(description="None: the original could not be measured")


class GradeDifference(Record):
    """A stored value that the timings do not give again."""

    where: str
    stored: str
    derived: str


def grade(
    measurement: Measurement, equality: TableComparison | None, rules: PayRules, history_s: Sequence[float] = ()
) -> RuntimeGrade:
    """The grade of a measurement. Raises BadInput for a history that cannot be used."""
    finding = derive(measurement)
    timed = len(measurement.pairs) >= FEWEST_TO_SPLIT
    return RuntimeGrade(
        measurement=measurement,
        equality=equality,
        rules=rules,
        history_s=tuple(history_s),
        finding=finding,
        split=split_gain(measurement, history_s) if history_s and timed else None,
        reward=pay(finding, equality is not None and equality.equal, rules),
    )


def grade_differences(stored: RuntimeGrade) -> tuple[GradeDifference, ...]:
    """What the stored timings give otherwise than the stored grade says."""
    derived = grade(stored.measurement, stored.equality, stored.rules, stored.history_s)
    pairs = ((name, getattr(stored, name), getattr(derived, name)) for name in ("finding", "split", "reward"))
    return tuple(GradeDifference(where=name, stored=str(a), derived=str(b)) for name, a, b in pairs if a != b)
