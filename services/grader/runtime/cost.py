"""Cost without a clock: what the engine's profile counts at one thread, the same run after run.

For graders that have to be deterministic. Never pay by it alone: a plan can be made to count little and take long.
"""

from pydantic import Field

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.run import Run

BYTES_A_ROW = 64
"""Bytes that count as much as a row: one cache line."""


class Cost(Record):
    """The figures of one job, all statements together. Two costs compare only if their engines are the same."""

    engine: str = Field(description="DuckDB's version, at one thread")
    rows_scanned: int
    rows_made: int
    bytes_made: int
    bytes_read: int
    bytes_written: int

    @property
    def total(self) -> float:
        """Rows scanned and made, and the bytes made, read and written at 64 to a row."""
        moved = self.bytes_made + self.bytes_read + self.bytes_written
        return self.rows_scanned + self.rows_made + moved / BYTES_A_ROW


def cost_of(run: Run, engine: str) -> Cost:
    """The cost of a profiled run. Raises BadInput if it was not profiled."""
    if not run.work:
        raise BadInput("a run without a profile has no cost: measure it with a profile")
    names = ("rows_scanned", "rows_made", "bytes_made", "bytes_read", "bytes_written")
    return Cost(engine=engine, **{name: sum(getattr(work, name) for work in run.work) for name in names})


def cost_ratio(measurement: Measurement) -> float | None:
    """The original's cost over the rewrite's; None if one of the two was not profiled."""
    if measurement.original is None or measurement.rewrite is None:
        return None
    engine = measurement.machine.engine
    return cost_of(measurement.original, engine).total / cost_of(measurement.rewrite, engine).total
