"""Scoring: the log-probability of every candidate of some states, in one call of the network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.policy.tier.features import (
    CANDIDATE_FEATURES,
    STATE_FEATURES,
    candidate_features,
    clipped,
    state_features,
)
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Operation
from services.policy.trained.network import Floats, Interface, Network

INTERFACE = Interface(
    inputs={
        "candidates": ("B", "M", len(CANDIDATE_FEATURES)),
        "state": ("B", len(STATE_FEATURES)),
        "action_mask": ("B", "M"),
    },
    output="logits",
    sizes=("B", "M"),
)
"""Of scorer.onnx: float32, for B states of at most M candidates; the mask is 1 for a candidate."""
LogProbabilities = NDArray[np.float64]


class Scorer:
    """Says how likely each candidate is to be the next operation."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(
        self, states: Sequence[State], offered: Sequence[Sequence[Operation]], knowledge: Knowledge, steps_left: int
    ) -> list[LogProbabilities]:
        """One array a state, of as many log-probabilities as it has candidates. Raises PolicyFault."""
        most = max(map(len, offered), default=0)
        if not most:
            return [np.zeros(0) for _ in states]
        candidates = np.zeros((len(states), most, len(CANDIDATE_FEATURES)), np.float32)
        mask = np.zeros((len(states), most), np.float32)
        for i, (state, operations) in enumerate(zip(states, offered, strict=True)):
            candidates[i, : len(operations)] = candidate_features(state, knowledge, operations)
            mask[i, : len(operations)] = 1.0
        described = np.stack([state_features(state, knowledge, None, steps_left) for state in states])
        inputs = {"candidates": clipped(candidates), "state": clipped(described), "action_mask": mask}
        logits = self._network.run(inputs)
        return [_log_softmax(row[: len(operations)]) for row, operations in zip(logits, offered, strict=True)]


def _log_softmax(logits: Floats) -> LogProbabilities:
    if not logits.size:
        return np.zeros(0)
    above = logits.astype(np.float64) - logits.max()
    normalised: LogProbabilities = above - np.log(np.exp(above).sum())
    return normalised
