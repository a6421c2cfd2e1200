"""What an episode may use, and how much of it is used. Waiting for a policy is not counted."""

from typing import Literal

from pydantic import Field

from services.contracts.etl import BenchReply
from services.contracts.record import Record

EtlTruncation = Literal["steps", "wall", "bytes"]


class EtlBudgets(Record):
    """The limits of one episode."""

    steps: int = Field(default=60, ge=1)
    wall_s: float = Field(default=7200.0, gt=0, description="seconds that the bench works before the submission")
    read_bytes: int = Field(default=500 * 10**9, ge=0, description="bytes that the agent's statements read from files")


class Spent(Record):
    """What has been used so far."""

    steps: int = 0
    wall_s: float = 0.0
    read_bytes: int = 0

    def after(self, reply: BenchReply, wall_s: float) -> "Spent":
        """One step more."""
        return Spent(steps=self.steps + 1, wall_s=self.wall_s + wall_s, read_bytes=self.read_bytes + reply.bytes_read)

    def over(self, budgets: EtlBudgets) -> EtlTruncation | None:
        """The first limit that is reached, if one is."""
        if self.wall_s >= budgets.wall_s:
            return "wall"
        if self.read_bytes > budgets.read_bytes:
            return "bytes"
        return "steps" if self.steps >= budgets.steps else None
