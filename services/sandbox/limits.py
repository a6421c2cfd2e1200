"""What a statement and a sandbox child may use."""

from typing import Self

from pydantic import Field, model_validator

from services.contracts.record import Record

ACTOR_MB = 8192
"""What an env actor and its children may use together."""
OWN_MB = 1536
"""The actor's own part of it: its interpreter, its caches, the episodes that are under way."""
CHILD_MB = 64
"""What a child has for itself before its first statement."""


class SandboxLimits(Record):
    """Limits of one statement and of the child it runs in. Source of the 5 s: sqlenv-v1-spec §2.4."""

    statement_s: float = Field(default=5.0, gt=0, description="seconds from the moment a statement starts to run")
    kill_grace_s: float = Field(default=0.5, gt=0, description="seconds between the interrupt and the kill")
    max_rows: int = Field(default=10_000, ge=20, description="rows kept of a result")
    max_bytes: int = Field(default=1_000_000, ge=10_000, description="bytes kept of a result")
    memory_mb: int = Field(default=512, ge=64, description="MB for the engine's buffers")
    headroom_mb: int = Field(default=768, ge=256, description="MB of address space on top of the idle child's")
    threads: int = Field(default=1, ge=1, le=2, description="threads of the engine; figures repeat with 1 only")
    children: int = Field(default=8, ge=1, description="children of one actor, one database each")
    cache_mb: int = Field(default=64, ge=0, description="MB of results kept for statements that come again")

    @model_validator(mode="after")
    def _fits_an_actor(self) -> Self:
        """All children at their limit at once fit into what an actor may use."""
        most = (ACTOR_MB - OWN_MB) // (self.headroom_mb + CHILD_MB)
        if self.children > most:
            raise ValueError(f"{self.children} children of {self.headroom_mb} MB exceed 8 GB: {most} would fit")
        return self
