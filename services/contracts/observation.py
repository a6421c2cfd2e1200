"""What the agent sees after each step: text only, as an analyst would; never gold, a host path or a stack trace."""

from services.contracts.record import Record


class Observation(Record):
    """The explore environment's observation (sqlenv-v1-spec §2.2)."""

    question: str
    schema_info: str
    result: str = ""
    error: str = ""
    step_count: int = 0
    budget_remaining: int = 0
    action_history: tuple[str, ...] = ()
