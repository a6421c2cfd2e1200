"""OpenEnv's own Environment over the floor, for its HTTP routes and its /web page.

Over HTTP an episode is named by the episode_id that its reset gave: OpenEnv makes a new environment for each request.
"""

from collections.abc import Sequence
from typing import Any

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State, WSErrorCode

from services.env_actor.openenv.floor import Floor, Held, told
from services.env_actor.openenv.stage import Asked, Refusal, Stage, check_split

VERSION = "1.0.0"


class FloorEnvironment(Environment[Action, Observation, State]):
    """One stage, seen as OpenEnv sees an environment."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, floor: Floor, stage: Stage) -> None:
        super().__init__()
        self._floor = floor
        self._stage = stage
        self._held: Held | None = None

    async def reset_async(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        task_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        **_: Any,
    ) -> Observation:
        """Begin an episode. Raises Refusal, or pydantic's ValidationError."""
        wanted = {"seed": seed, "episode_id": episode_id, "task_id": task_id, "split": split, "index": index}
        self._held = self._floor.open(self._stage, Asked.model_validate(wanted))
        return told(self._held)

    async def step_async(
        self, action: Action, timeout_s: float | None = None, episode_id: str | None = None, **_: Any
    ) -> Observation:
        """Take one action in the episode of that id, or in the one that this object began. Raises Refusal."""
        wanted = episode_id or (self._held.episode_id if self._held else None)
        if not isinstance(wanted, str):
            raise Refusal(
                WSErrorCode.SESSION_ERROR, 409, "no episode: reset, then send its episode_id beside the action"
            )
        return await self._floor.step(self._floor.find(self._stage, wanted), action)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Observation:
        """As reset_async, from another thread than the server's."""
        return self._floor.run(self.reset_async(seed, episode_id, **kwargs))

    def step(self, action: Action, timeout_s: float | None = None, **kwargs: Any) -> Observation:
        """As step_async, from another thread than the server's."""
        return self._floor.run(self.step_async(action, timeout_s, **kwargs))

    @property
    def state(self) -> State:
        """Where the episode stands that this object began."""
        return self._held.play.state(self._held.episode_id) if self._held else self._stage.state()

    def get_metadata(self) -> EnvironmentMetadata:
        """What /metadata says."""
        return EnvironmentMetadata(name=self._stage.name, description=self._stage.description, version=VERSION)

    def list_splits(self) -> list[str]:
        """The one split there is: every task of the environment."""
        return [self._stage.name]

    def list_tasks(self, split: str) -> list[dict[str, object]]:
        """The tasks of the split. Raises Refusal for another."""
        return [{"id": task_id, "index": index} for index, task_id in enumerate(self._of(split))]

    def num_tasks(self, split: str) -> int:
        """How many tasks the split has. Raises Refusal for another."""
        return len(self._of(split))

    def get_task(self, split: str, index: int) -> dict[str, object]:
        """One task of the split. Raises Refusal, IndexError."""
        if index < 0:
            raise IndexError(index)
        return {"id": self._of(split)[index], "index": index}

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, object]]:
        """The tasks of a slice of the split. Raises Refusal for another."""
        return self.list_tasks(split)[start:stop]

    def _of(self, split: str) -> Sequence[str]:
        check_split(self._stage, split)
        return self._stage.tasks()
