"""What the server asks of an environment: a stage begins plays, a play takes one action at a time.

Invariant: a step that is cancelled, or that ends in a fault, has not happened; it may be sent again.
"""

import random
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from openenv.core.env_server.types import Action, Observation, State, WSErrorCode
from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**63 - 1


class Asked(BaseModel):
    """What a reset may ask for. Other keys are ignored, as OpenEnv does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    episode_id: str | None = Field(default=None, max_length=255)
    task_id: str | None = Field(default=None, max_length=255)
    split: str | None = Field(default=None, max_length=255)
    index: int | None = Field(default=None, ge=0, description="of the task in its split; task_id goes before it")


class Refusal(Exception):
    """An answer that is no observation: the code goes over the WebSocket, the status over HTTP."""

    def __init__(self, code: WSErrorCode, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Play(Protocol):
    """One live episode."""

    @property
    def task_id(self) -> str:
        """The task that is played."""
        ...

    @property
    def seed(self) -> int:
        """The seed of the episode."""
        ...

    @property
    def over(self) -> bool:
        """No further action is taken."""
        ...

    @property
    def verdict(self) -> str | None:
        """The verdict of an episode that is over."""
        ...

    @property
    def latest(self) -> Observation:
        """What was shown last, with its reward."""
        ...

    async def step(self, action: Any) -> Observation:
        """Take one action of the stage's type. Raises Infrastructure; then nothing was taken."""
        ...

    def state(self, episode_id: str) -> State:
        """Where the episode stands."""
        ...

    def release(self) -> None:
        """Let go of what it holds of the machine: nobody plays it now, though it may go on later."""
        ...


class Stage(Protocol):
    """One environment with its tasks."""

    description: str

    @property
    def name(self) -> str:
        """What it is mounted under."""
        ...

    @property
    def action(self) -> type[Action]:
        """What a client sends."""
        ...

    @property
    def observation(self) -> type[Observation]:
        """What a client is shown."""
        ...

    @property
    def state(self) -> type[State]:
        """What a client is told of an episode."""
        ...

    def tasks(self) -> Sequence[str]:
        """The ids of the tasks, in their order."""
        ...

    def begin(self, task_id: str, seed: int) -> Play:
        """A new episode."""
        ...


def begin(stage: Stage, asked: Asked) -> Play:
    """The episode that a reset asks for: without a task the seed draws one. Raises Refusal."""
    seed = secrets.randbits(60) if asked.seed is None else asked.seed
    return stage.begin(_task(stage, asked, seed), seed)


def check_split(stage: Stage, split: str) -> None:
    """Raise Refusal for any split but the one there is."""
    if split != stage.name:
        raise Refusal(WSErrorCode.VALIDATION_ERROR, 404, f"no split {split[:100]!r}; there is {stage.name!r}")


def _task(stage: Stage, asked: Asked, seed: int) -> str:
    tasks = stage.tasks()
    if asked.task_id is not None:
        if asked.task_id not in tasks:
            raise Refusal(WSErrorCode.VALIDATION_ERROR, 422, f"no task {asked.task_id[:100]!r} in {stage.name}")
        return asked.task_id
    if asked.split is not None:
        check_split(stage, asked.split)
    if asked.index is None:
        return random.Random(f"task/{seed}").choice(tasks)
    if asked.index >= len(tasks):
        raise Refusal(WSErrorCode.VALIDATION_ERROR, 422, f"index {asked.index}: {stage.name} has {len(tasks)} tasks")
    return tasks[asked.index]
