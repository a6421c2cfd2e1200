"""Runs of the agent's statement that it hears nothing of: on copies of its database, or for the engine's profile."""

from typing import Annotated, Literal

from pydantic import Field

from services.contracts.record import Record
from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError, StatementOutcome

Purpose = Literal["copy", "severed", "cost"]


class Profile(Record):
    """What one run of a statement did, by the engine's own count at one thread: the same figures run after run."""

    kind: Literal["profile"] = "profile"
    engine: str = Field(description="DuckDB's version; figures of two engines do not compare")
    rows_scanned: int
    rows_made: int = Field(description="rows that came out of all operators")
    bytes_made: int = Field(description="bytes of those rows")


TrialOutcome = Annotated[ResultTable | Refused | SqlError | LimitHit | Profile, Field(discriminator="kind")]


class TrialOrder(Record):
    """A run that the grader wants: of the statement on a copy, of the statement severed, or of its profile."""

    purpose: Purpose
    database: str
    sql: str


class TrialNote(Record):
    """What is stored of a trial: where it ran and how it ended. Rows of a hidden copy are never stored."""

    purpose: Purpose
    database: str
    outcome: str = Field(description="rows, profile, sql_error, or what refused or stopped the statement")


class Trial(Record):
    """An order and what came of it."""

    order: TrialOrder
    outcome: TrialOutcome

    def note(self) -> TrialNote:
        """What is stored."""
        found = self.outcome
        word = found.reason if isinstance(found, Refused | LimitHit) else found.kind
        return TrialNote(purpose=self.order.purpose, database=self.order.database, outcome=word)


class Tried(Record):
    """A statement's outcome, and the trials that its score needs."""

    kind: Literal["tried"] = "tried"
    outcome: StatementOutcome
    trials: tuple[Trial, ...] = ()
