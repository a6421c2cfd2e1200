"""Freezing: trained networks as ONNX, so that playing takes no torch."""

import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cluster.training.network import CandidateNetwork
from cluster.training.settings import NetworkConfig
from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES
from services.policy.trained.reranking import RERANKING_FEATURES

OPSET = 18
"""The first in which the largest of several values can be scattered."""


class _LogitsAlone(nn.Module):
    def __init__(self, network: CandidateNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, candidates: Tensor, state: Tensor, action_mask: Tensor) -> Tensor:
        logits: Tensor = self.network(candidates, state, action_mask).logits
        return logits


def frozen_scorer(config: NetworkConfig, weights: Mapping[str, Any]) -> bytes:
    """The network of a ScoringModule's state as `scorer.onnx` (services/policy/trained/scoring.py)."""
    network = CandidateNetwork(config.width, 0.0)
    taken = {name.removeprefix("network."): value for name, value in weights.items() if name.startswith("network.")}
    network.load_state_dict({name: torch.as_tensor(value) for name, value in taken.items()})
    mask = torch.ones(2, 5)
    mask[1, 3:] = 0
    example = (torch.rand(2, 5, len(CANDIDATE_FEATURES)), torch.rand(2, len(STATE_FEATURES)), mask)
    both = {0: "B", 1: "M"}
    axes = {"candidates": both, "state": {0: "B"}, "action_mask": both, "logits": both}
    return _frozen(_LogitsAlone(network), example, "logits", axes)


def frozen_reranker(network: nn.Module) -> bytes:
    """A network over rows of RERANKING_FEATURES as `reranker.onnx`."""
    example = (torch.rand(3, len(RERANKING_FEATURES)),)
    return _frozen(network, example, "scores", {"statements": {0: "K"}, "scores": {0: "K"}})


def _frozen(network: nn.Module, example: tuple[Tensor, ...], output: str, axes: dict[str, dict[int, str]]) -> bytes:
    written: Any = io.BytesIO()
    inputs = [name for name in axes if name != output]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter: the newer one takes another package
        torch.onnx.export(
            network.eval(), example, written, input_names=inputs, output_names=[output],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    content: bytes = written.getvalue()
    return content
