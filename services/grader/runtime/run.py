"""What one run of a job came to: its time and output, or the reason why it did not end by itself."""

from typing import Literal

from pydantic import Field

from services.contracts.record import Record

StopReason = Literal["sql_error", "memory", "deadline", "crash", "processes", "output"]


class Output(Record):
    """One output as it was committed. The sums can show a difference; they do not prove that there is none."""

    name: str
    rows: int
    exact: str = Field(description="sum of the rows' hashes over the columns without floats")
    whole: str = Field(description="the same over all columns; the `unstable` ones are in neither")
    columns: tuple[str, ...] = Field(description="each with its type")


class Work(Record):
    """What one statement did, from the engine's profile; the same in every run at one thread."""

    plan: str | None = Field(description="digest of the optimised plan with its expressions; None: cannot be had")
    rows_scanned: int = Field(description="rows that scans looked at")
    rows_made: int = Field(description="rows that came out of all operators")
    bytes_made: int = Field(description="bytes of those rows")
    bytes_read: int = Field(description="bytes read from files")
    bytes_written: int


class Run(Record):
    """One run that ended by itself. Set-up, and the reading of the output afterwards, are outside its clock."""

    core: int = Field(description="the core that it was pinned to")
    user_s: float = Field(ge=0, description="CPU seconds in the engine")
    system_s: float = Field(ge=0, description="CPU seconds in the kernel")
    children_s: float = Field(default=0.0, ge=0, description="CPU seconds of every process that it started")
    wall_s: float = Field(gt=0, description="seconds that passed; shown, never judged")
    outputs: tuple[Output, ...] = ()
    work: tuple[Work, ...] = Field(default=(), description="one for each statement, of a profiled run only")

    @property
    def cpu_s(self) -> float:
        """CPU seconds, user and system, of the process and all its descendants."""
        return self.user_s + self.system_s + self.children_s


class Stopped(Record):
    """A run that the job itself kept from ending well."""

    reason: StopReason
    message: str


RunOutcome = Run | Stopped
