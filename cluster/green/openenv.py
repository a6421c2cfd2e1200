"""The explore environment of an OpenEnv server, with reset and step as a Green Agent wants them."""

from collections.abc import Callable
from types import TracebackType

from openenv.core.client_types import StepResult as ServedResult

from cluster.green.agent import StepResult
from services.contracts.actions import ExploreAction, argument_of
from services.contracts.errors import Infrastructure
from services.contracts.observation import Observation
from services.env_actor.openenv.client import ExploreEnv
from services.env_actor.openenv.explore import SQLAction, SQLObservation

_LOST = (OSError, RuntimeError, TimeoutError, ValueError)
"""What the client raises where a server is not there, drops the connection, or answers what cannot be read."""


class OpenEnvEnvironment:
    """Plays the episodes that a server gives for the seeds `seed`, `seed` + 1 … Use as a context manager."""

    def __init__(self, base_url: str, seed: int = 0) -> None:
        self._url = base_url
        self._seed = seed
        self._client = ExploreEnv(base_url).sync()

    def __enter__(self) -> "OpenEnvEnvironment":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def reset(self) -> StepResult:
        """The first observation of the next episode. Raises Infrastructure."""
        seed, self._seed = self._seed, self._seed + 1
        return self._seen(lambda: self._client.reset(seed=seed))

    def step(self, action: ExploreAction) -> StepResult:
        """What came of one action. Raises Infrastructure."""
        sent = SQLAction(action_type=action.kind, argument=argument_of(action))
        return self._seen(lambda: self._client.step(sent))

    def _seen(self, call: Callable[[], ServedResult[SQLObservation]]) -> StepResult:
        try:
            result = call()
        except _LOST as error:
            raise Infrastructure(f"{self._url}: {type(error).__name__}: {str(error)[:300]}") from error
        shown = result.observation
        observation = Observation(
            question=shown.question,
            schema_info=shown.schema_info,
            result=shown.result,
            error=shown.error,
            step_count=shown.step_count,
            budget_remaining=shown.budget_remaining,
            action_history=tuple(shown.action_history),
        )
        return StepResult(observation=observation, reward=result.reward, done=result.done)
