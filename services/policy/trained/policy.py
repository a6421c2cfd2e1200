"""The policy `trained:CHECKPOINT`: tries the beam's queries, and answers the one that its results speak for."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from services.contracts.actions import Action
from services.contracts.policy import AnyTurn, Turn
from services.policy.heuristic import next_action
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.whole import FirstWithRows, WholeQuery, WholeQueryPolicy
from services.policy.trained.checkpoint import Checkpoint, read_checkpoint
from services.policy.trained.searching import Beam

KNOWN = 512
"""Searches kept: `act` is called once a turn, and a turn knows what the one before it knew."""


class TrainedPolicy:
    """Plays a checkpoint; where it has no query to try, the heuristic plays."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        search = lru_cache(maxsize=KNOWN)(Beam(checkpoint.scorer, checkpoint.manifest.search).search)

        def rank(turn: Turn, knowledge: Knowledge) -> tuple[WholeQuery, ...]:
            return search(knowledge)

        chooser = checkpoint.reranker or FirstWithRows()
        self._played = WholeQueryPolicy("trained", rank, chooser, checkpoint.manifest.search.tries, next_action)

    @classmethod
    def read(cls, folder: Path) -> "TrainedPolicy":
        """The policy of a checkpoint's folder. Raises BadInput."""
        return cls(read_checkpoint(folder))

    async def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises BadInput for a task that is not of explore."""
        actions: list[Action] = []
        for turn in turns:
            await asyncio.sleep(0)  # a search takes a tenth of a second, and statements under way are timed meanwhile
            actions += self._played.act([turn])
        return actions
