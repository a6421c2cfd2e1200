"""The explore environment over OpenEnv: exactly sqlenv-v1-spec §2.2 on the wire."""

from openenv.core.env_server.types import Action
from openenv.core.env_server.types import Observation as OpenEnvObservation
from pydantic import Field

from services.contracts.actions import ExploreAction, make_action
from services.contracts.observation import AnyObservation, Observation
from services.contracts.tasks import Environment
from services.env_actor.openenv.playing import EpisodeStage, EpisodeState, Facts


class SQLAction(Action):
    """What the agent sends each step."""

    action_type: str = Field(description="One of: DESCRIBE, SAMPLE, QUERY, ANSWER")
    argument: str = Field(
        description="Table name (for DESCRIBE and SAMPLE), SQL (for QUERY), or the answer's value (for ANSWER)"
    )


class SQLObservation(OpenEnvObservation):
    """What the agent receives after each step."""

    question: str = Field(description="The question to answer")
    schema_info: str = Field(description="The names of the tables")
    result: str = Field(default="", description="Result of the last action: at most 20 rows as CSV")
    error: str = Field(default="", description="Why the last action came to nothing")
    step_count: int = Field(default=0, description="Steps taken so far")
    budget_remaining: int = Field(default=0, description="Steps left; ANSWER costs none")
    action_history: list[str] = Field(default_factory=list, description="The actions so far, shortened")


class SQLState(EpisodeState):
    """Where an episode of explore stands."""


class ExploreStage(EpisodeStage[SQLAction, SQLObservation]):
    """The explore environment over one task set."""

    environment: Environment = "explore"
    description = "Answer a question about a database by exploring it: DESCRIBE, SAMPLE, QUERY, then ANSWER."
    action = SQLAction
    observation = SQLObservation
    state = SQLState

    def read(self, action: SQLAction) -> ExploreAction:
        """The episode's action; what is none is Malformed."""
        return make_action(action.action_type, action.argument)

    def show(self, seen: AnyObservation, done: bool, reward: float | None, facts: Facts) -> SQLObservation:
        """The observation as it goes over the wire."""
        if not isinstance(seen, Observation):
            raise TypeError(f"explore shows no {type(seen).__name__}")
        shown: SQLObservation = SQLObservation.model_construct(
            done=done,
            reward=reward,
            metadata=facts,
            question=seen.question,
            schema_info=seen.schema_info,
            result=seen.result,
            error=seen.error,
            step_count=seen.step_count,
            budget_remaining=seen.budget_remaining,
            action_history=list(seen.action_history),
        )
        return shown
