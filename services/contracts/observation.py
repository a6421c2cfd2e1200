"""What the agent sees after each step; never gold, a host path, a stack trace or anything of a hidden copy."""

from pydantic import ConfigDict, Field, SkipValidation

from services.contracts.record import Record
from services.contracts.statements import Cell


class Observation(Record):
    """The explore environment's observation (sqlenv-v1-spec §2.2)."""

    question: str
    schema_info: str
    result: str = ""
    error: str = ""
    step_count: int = 0
    budget_remaining: int = 0
    action_history: tuple[str, ...] = ()


class SQLObservation(Record):
    """The analyst's observation (sql-data-analyst-prd §3), with the question and the task beside it."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    question: str
    task_id: str
    schema_: dict[str, dict[str, str]] = Field(alias="schema", description="type by column, by table")
    last_result: SkipValidation[list[dict[str, Cell]]] = Field(
        default_factory=list, description="the first 5 rows of the previous result, each value by its column"
    )
    error_message: str | None = None
    step_history: tuple[str, ...] = Field(default=(), description="the last 4 actions")


AnyObservation = Observation | SQLObservation
