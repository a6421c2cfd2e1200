"""The analyst over OpenEnv: sql-data-analyst-prd §3 on the wire, with the question and the task beside it."""

from openenv.core.env_server.types import Action
from openenv.core.env_server.types import Observation as OpenEnvObservation
from pydantic import ConfigDict, Field, JsonValue

from services.contracts.actions import AnalystAction, writable
from services.contracts.actions import SQLAction as OurSQLAction
from services.contracts.observation import AnyObservation
from services.contracts.observation import SQLObservation as OurSQLObservation
from services.contracts.tasks import Environment
from services.env_actor.analyst.episode import AnalystEpisode
from services.env_actor.episode import Episode
from services.env_actor.openenv.playing import EpisodeStage, EpisodeState, Facts


class SQLAction(Action):
    """What the agent sends each step."""

    sql_query: str = Field(description="The SQL to run; with is_done it may be empty, for the statement before it")
    is_done: bool = Field(default=False, description="Whether this is the submission, which ends the episode")


class SQLObservation(OpenEnvObservation):
    """What the agent receives after each step."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    question: str = Field(description="The business question")
    task_id: str = Field(description="The task")
    schema_: dict[str, dict[str, str]] = Field(alias="schema", description="Type by column, by table")
    last_result: list[dict[str, JsonValue]] = Field(
        default_factory=list, description="The first 5 rows of the previous result, each value by its column"
    )
    error_message: str | None = Field(default=None, description="Why the statement failed")
    step_history: list[str] = Field(default_factory=list, description="The last 4 actions")


class SQLState(EpisodeState):
    """Where an episode of the analyst stands."""


class AnalystStage(EpisodeStage[SQLAction, SQLObservation]):
    """The analyst over one task set."""

    environment: Environment = "analyst"
    description = "Answer a business question over a messy database with one SQL statement, improved step by step."
    action = SQLAction
    observation = SQLObservation
    state = SQLState

    def read(self, action: SQLAction) -> AnalystAction:
        """The episode's action."""
        return OurSQLAction(sql_query=writable(action.sql_query).strip(), is_done=action.is_done)

    def show(self, seen: AnyObservation, done: bool, reward: float | None, facts: Facts) -> SQLObservation:
        """The observation as it goes over the wire."""
        if not isinstance(seen, OurSQLObservation):
            raise TypeError(f"the analyst shows no {type(seen).__name__}")
        shown: SQLObservation = SQLObservation.model_construct(
            done=done,
            reward=reward,
            metadata=facts,
            question=seen.question,
            task_id=seen.task_id,
            schema_=seen.schema_,
            last_result=seen.last_result,
            error_message=seen.error_message,
            step_history=list(seen.step_history),
        )
        return shown

    def ending(self, episode: Episode) -> Facts:
        """The score of what was submitted."""
        if not isinstance(episode, AnalystEpisode):
            raise TypeError("only the analyst's episodes have a score")
        return {"score": episode.score if episode.terminated else 0.0}
