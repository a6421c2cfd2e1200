"""Prelearning: stored decisions become the batches of RLlib's learners, in Ray Data's own workers.

RLlib's default would make an episode of every row and copy it several times; the rows say all that BC and MARWIL need,
as value targets are what an episode earned from there (MARWIL, Wang et al. 2018, equation 6, with no discount).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.offline.offline_prelearner import OfflinePreLearner

from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES

Batch = dict[str, NDArray[Any]]


class DecisionReader(OfflinePreLearner):
    """Reads rows of `decisions.SCHEMA`; candidates are padded to as many as the observation space has."""

    def __init__(self, *, config: Any, spaces: Any = None, module_state: Any = None, **others: Any) -> None:
        """`config` is RLlib's AlgorithmConfig; its observation space says how many candidates there may be."""
        self._most = config.observation_space["action_mask"].shape[0]

    def __call__(self, batch: dict[str, Any]) -> Batch:
        """Columns by RLlib's flattened names, as many rows as came in."""
        seen = {f"{Columns.OBS}/{name}": value for name, value in padded(batch["obs"], self._most).items()}
        columns = {
            **seen,
            Columns.ACTIONS: batch["actions"].astype(np.int64),
            Columns.VALUE_TARGETS: batch["returns"].astype(np.float32),
        }
        return {f"{DEFAULT_MODULE_ID}/{name}": column for name, column in columns.items()}


def padded(seen: Sequence[Mapping[str, bytes]], most: int) -> Batch:
    """Observations of SCHEMA as the spaces have them: candidates (B, most, F), state (B, S), action_mask (B, most)."""
    candidates = np.zeros((len(seen), most, len(CANDIDATE_FEATURES)), np.float16)
    mask = np.zeros((len(seen), most), np.int8)
    state = np.zeros((len(seen), len(STATE_FEATURES)), np.float16)
    for number, one in enumerate(seen):
        offered = np.frombuffer(one["candidates"], np.float16).reshape(-1, len(CANDIDATE_FEATURES))
        candidates[number, : len(offered)] = offered
        mask[number, : len(offered)] = 1
        state[number] = np.frombuffer(one["state"], np.float16)
    return {"candidates": candidates, "state": state, "action_mask": mask}
