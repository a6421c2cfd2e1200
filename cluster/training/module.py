"""The network as RLlib has it: one RLModule for BC, MARWIL and PPO, and the spaces it plays in."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from cluster.training.network import CandidateNetwork
from cluster.training.settings import NetworkConfig
from services.policy.tier.features import CANDIDATE_FEATURES, HIGHEST, STATE_FEATURES


class ScoringModule(TorchRLModule, ValueFunctionAPI):
    """Scores the candidates; a head of its own estimates the return from the summary of them all."""

    def setup(self) -> None:
        """Make the layers from `model_config` (NetworkConfig)."""
        asked: Any = self.model_config  # RLlib adds keys of its own
        config = NetworkConfig.model_validate({name: asked[name] for name in NetworkConfig.model_fields})
        self.network = CandidateNetwork(config.width, config.dropout)
        self.value = nn.Sequential(nn.Linear(2 * config.width, config.width), nn.ReLU(), nn.Linear(config.width, 1))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        seen = batch[Columns.OBS]
        scored = self.network(seen["candidates"], seen["state"], seen["action_mask"])
        return {Columns.ACTION_DIST_INPUTS: scored.logits, Columns.EMBEDDINGS: scored.summary}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """The expected return of each state, (B,). The network learns from the choices alone, not from this."""
        if embeddings is None:
            with torch.no_grad():
                embeddings = self._forward(batch)[Columns.EMBEDDINGS]
        values: Tensor = self.value(embeddings.detach()).squeeze(-1)
        return values


def spaces_of(most: int) -> tuple[spaces.Dict, spaces.Discrete[np.int64]]:
    """What is seen and what is done, with at most so many candidates. Half floats: a batch takes half the memory."""
    seen = spaces.Dict(
        {
            "candidates": spaces.Box(-HIGHEST, HIGHEST, (most, len(CANDIDATE_FEATURES)), np.float16),
            "state": spaces.Box(-HIGHEST, HIGHEST, (len(STATE_FEATURES),), np.float16),
            "action_mask": spaces.Box(0, 1, (most,), np.int8),
        }
    )
    return seen, spaces.Discrete(most)


def module_spec(config: NetworkConfig, most: int) -> RLModuleSpec:
    """The module to build."""
    seen, done = spaces_of(most)
    observation: gymnasium.Space[Any] = seen
    return RLModuleSpec(
        module_class=ScoringModule,
        observation_space=observation,
        action_space=done,
        model_config=config.model_dump(),
    )
