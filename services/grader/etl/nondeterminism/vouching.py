"""What is still asked of columns that the comparison leaves out: picks have to be ties, and all to keep their shape.

Invariant: it is asked of every pair of outputs that is compared, on production's data and on any other.
"""

from pathlib import Path

from pydantic import Field

from services.contracts.etl import EtlJob
from services.contracts.record import Record
from services.grader.etl.nondeterminism.rerun import RerunLimits
from services.grader.etl.nondeterminism.shape import ShapeChange, shape_changes
from services.grader.etl.nondeterminism.signoff import left_out
from services.grader.etl.nondeterminism.tiebreak import TieReport
from services.grader.etl.nondeterminism.ties import check_ties


class Vouched(Record):
    """What was found of the columns that are left out. Their values beyond that, nobody has checked."""

    columns: tuple[str, ...]
    shapes: tuple[ShapeChange, ...] = ()
    ties: TieReport | None = Field(default=None, description="None: no column is signed off as a pick")

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against them."""
        return not self.shapes and (self.ties is None or self.ties.verdict == "corroborated")

    @property
    def reason(self) -> str:
        """What speaks against them in one line, without a value of either side; empty if nothing does."""
        said = [f"{one.column} is {one.right} where it should be {one.left}" for one in self.shapes]
        if self.ties is not None and self.ties.verdict != "corroborated":
            columns = ", ".join(self.ties.rule.carried)
            counts = f"{self.ties.other_order + self.ties.mixed + self.ties.foreign} of {self.ties.rows} rows"
            said.append(f"{columns}: no mere ties ({self.ties.verdict}, {counts})")
        return "; ".join(said)


def vouch(
    job: EtlJob, left: Path, right: Path, limits: RerunLimits | None = None, folder: Path | None = None
) -> Vouched:
    """Check the columns that are left out of the comparison of two outputs; `left` is the original's or production's.

    The job's sources, and `before`, are those that both outputs were made from; both are whole outputs as Parquet files
    with the same columns. Raises BadInput where ties cannot be checked, Infrastructure.
    """
    columns = left_out(job)
    if not columns:
        return Vouched(columns=())
    ties = check_ties(job, left, right, limits, folder)
    picks = ties.rule.carried if ties is not None else ()
    stamped = [name for name in columns if name not in picks]
    return Vouched(columns=columns, shapes=shape_changes(left, right, stamped), ties=ties)
