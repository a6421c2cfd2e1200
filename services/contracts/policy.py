"""What acts. A policy keeps nothing between calls: all it knows is in the turn, so any replica can take any turn."""

from collections.abc import Sequence
from typing import Protocol

from services.contracts.actions import ExploreAction
from services.contracts.observation import Observation
from services.contracts.record import Record


class Exchange(Record):
    """An action and the observation that followed it."""

    action: ExploreAction
    observation: Observation


class Turn(Record):
    """One decision to take: the episode so far. Only `first` and `history` are for the agent's eyes."""

    task_id: str
    seed: int
    first: Observation
    history: tuple[Exchange, ...]

    @property
    def observation(self) -> Observation:
        """What the agent sees now."""
        return self.history[-1].observation if self.history else self.first


class Policy(Protocol):
    """Chooses one action for each turn; the same turns give the same actions."""

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        """One action a turn, in order. Raises PolicyFault if its service fails."""
        ...


class AsyncPolicy(Protocol):
    """A policy that waits for something else to decide: the same law, awaited."""

    async def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        """One action a turn, in order. Raises PolicyFault if its service fails."""
        ...


AnyPolicy = Policy | AsyncPolicy
