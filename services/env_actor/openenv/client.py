"""Typed clients of the served environments. After a lost connection the next call goes on with the same episode."""

import uuid
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from openenv.core import EnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.types import Action, Observation, State

from services.env_actor.openenv import analyst, etl, explore

SESSION = "x-session-id"
"""The header by which Ray Serve sends a client to the replica where it was before."""
ActionT = TypeVar("ActionT", bound=Action)
ObservationT = TypeVar("ObservationT", bound=Observation)
StateT = TypeVar("StateT", bound=State)


class StageClient(EnvClient[ActionT, ObservationT, StateT], Generic[ActionT, ObservationT, StateT]):
    """What the clients share. `base_url` is the server's, without the environment's name."""

    path: str
    observation: type[ObservationT]
    reached: type[StateT]

    def __init__(self, base_url: str, headers: dict[str, str] | None = None, **options: Any) -> None:
        root = base_url.rstrip("/")
        url = root if root.endswith(f"/{self.path}") else f"{root}/{self.path}"
        super().__init__(url, headers={SESSION: uuid.uuid4().hex, **(headers or {})}, **options)
        self._socket = self._ws_url

    def _step_payload(self, action: ActionT) -> dict[str, Any]:
        payload: dict[str, Any] = action.model_dump(exclude={"metadata"})
        return payload

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ObservationT]:
        reward, done = payload.get("reward"), bool(payload.get("done"))
        seen = self.observation.model_validate({**payload["observation"], "reward": reward, "done": done})
        episode_id = seen.metadata.get("episode_id")
        if episode_id:
            self._ws_url: str | None = f"{self._socket}?episode_id={quote(str(episode_id), safe='')}"
        return StepResult(observation=seen, reward=reward, done=done, metadata=seen.metadata)

    def _parse_state(self, payload: dict[str, Any]) -> StateT:
        state: StateT = self.reached.model_validate(payload)
        return state


class ExploreEnv(StageClient[explore.SQLAction, explore.SQLObservation, explore.SQLState]):
    """The explore environment."""

    path = "explore"
    observation = explore.SQLObservation
    reached = explore.SQLState


class AnalystEnv(StageClient[analyst.SQLAction, analyst.SQLObservation, analyst.SQLState]):
    """The analyst."""

    path = "analyst"
    observation = analyst.SQLObservation
    reached = analyst.SQLState


class EtlEnv(StageClient[etl.EtlAction, etl.EtlObservation, etl.EtlState]):
    """The ETL environment. It waits an hour for an answer, unless it is told otherwise: a submission is timed."""

    path = "etl"
    observation = etl.EtlObservation
    reached = etl.EtlState

    def __init__(self, base_url: str, message_timeout_s: float = 3600.0, **options: Any) -> None:
        super().__init__(base_url, message_timeout_s=message_timeout_s, **options)
