"""The policy `trained:CHECKPOINT`: tries the beam's queries, and answers the one that its results speak for."""

from functools import lru_cache
from pathlib import Path

from services.contracts.policy import Turn
from services.policy.heuristic import next_action
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.whole import FirstWithRows, WholeQuery, WholeQueryPolicy
from services.policy.trained.checkpoint import Checkpoint, read_checkpoint
from services.policy.trained.searching import Beam

KNOWN = 512
"""Searches kept: `act` is called once a turn, and a turn knows what the one before it knew."""


def read_trained(folder: Path) -> WholeQueryPolicy:
    """The policy of a checkpoint. Raises BadInput."""
    return trained_policy(read_checkpoint(folder))


def trained_policy(checkpoint: Checkpoint) -> WholeQueryPolicy:
    """The policy of a checkpoint that was read; where it has no query to try, the heuristic plays."""
    search = lru_cache(maxsize=KNOWN)(Beam(checkpoint.scorer, checkpoint.manifest.search).search)

    def rank(turn: Turn, knowledge: Knowledge) -> tuple[WholeQuery, ...]:
        return search(knowledge)

    chooser = checkpoint.reranker or FirstWithRows()
    return WholeQueryPolicy("trained", rank, chooser, checkpoint.manifest.search.tries, next_action)
