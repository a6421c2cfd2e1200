"""What is asked: a task and its limits, never its gold."""

from typing import Literal

from pydantic import Field

from services.contracts.record import Record

HOUR_S = 3600.0
Environment = Literal["explore", "analyst"]
Difficulty = Literal["easy", "medium", "hard"]


class Task(Record):
    """One question over one database (sqlenv-v1-spec §4.3, without the hidden fields)."""

    task_id: str = Field(min_length=1)
    environment: Environment = "explore"
    database: str = Field(min_length=1)
    question: str = Field(min_length=1)
    difficulty: Difficulty


class EpisodeLimits(Record):
    """What one episode may use. Source of the defaults: sqlenv-v1-spec §2.4."""

    budget: int = Field(default=15, ge=1, le=1000, description="steps; ANSWER costs none")
    deadline_s: float = Field(
        default=120.0, gt=0, description="seconds for which an episode's statements may run, waiting left out"
    )
    structure: float = Field(
        default=0.0, ge=0, le=0.05, description="most that a query built like the gold may earn; 0: nothing is compared"
    )
    wall_s: float | None = Field(
        default=None, gt=0, description="seconds that an episode may last, waiting and all attempts included"
    )

    def longest_s(self) -> float:
        """`wall_s`; if it is left out an hour, or ten times what the statements may take."""
        return self.wall_s if self.wall_s is not None else max(HOUR_S, 10 * self.deadline_s)
