"""What a statement and a sandbox child may use."""

from pydantic import Field

from services.contracts.record import Record


class SandboxLimits(Record):
    """Limits of one statement and of the child it runs in. Source of the 5 s: sqlenv-v1-spec §2.4."""

    statement_s: float = Field(default=5.0, gt=0, description="seconds from the moment a statement starts to run")
    kill_grace_s: float = Field(default=0.5, gt=0, description="seconds between the interrupt and the kill")
    max_rows: int = Field(default=10_000, ge=20, description="rows kept of a result")
    max_bytes: int = Field(default=1_000_000, ge=10_000, description="bytes kept of a result")
    memory_mb: int = Field(default=512, ge=64, description="MB for the engine's buffers")
    headroom_mb: int = Field(default=768, ge=256, description="MB of address space on top of the idle child's")
    threads: int = Field(default=1, ge=1, le=2, description="threads of the engine; figures repeat with 1 only")
    children: int = Field(default=4, ge=1, le=64, description="children of one actor, one database each")
    cache_mb: int = Field(default=64, ge=0, description="MB of results kept for statements that come again")
