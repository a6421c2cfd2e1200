"""Small checkpoints for tests: networks of PyTorch as ONNX files, in folders as training leaves them."""

import io
from pathlib import Path

import torch
from torch import Tensor, nn

from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES
from services.policy.trained.checkpoint import write_checkpoint
from services.policy.trained.manifest import RERANKER, SCORER, Manifest, NetworkFile, SearchSettings
from services.policy.trained.reranking import RERANKING_FEATURES

CARD = "# A checkpoint\n\nMade by a test.\n"


class LinearScorer(nn.Module):
    """Weighs the features of a candidate."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, candidates: Tensor, state: Tensor, action_mask: Tensor) -> Tensor:
        return candidates @ self.weights + 0.0 * state.sum(1, keepdim=True) + (action_mask - 1.0) * 1e6


class RandomScorer(nn.Module):
    """Two layers over candidate and state, weights by chance."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one = nn.Linear(len(CANDIDATE_FEATURES) + len(STATE_FEATURES), 32)
        self.two = nn.Linear(32, 1)

    def forward(self, candidates: Tensor, state: Tensor, action_mask: Tensor) -> Tensor:
        wide = state[:, None, :].expand(-1, candidates.shape[1], -1)
        hidden = torch.relu(self.one(torch.cat([candidates, wide], 2)))
        return 4.0 * self.two(hidden)[:, :, 0] + (action_mask - 1.0) * 1e6


class LinearReranker(nn.Module):
    """Weighs the features of a statement."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, statements: Tensor) -> Tensor:
        return statements @ self.weights


def weights(names: tuple[str, ...], **weighed: float) -> Tensor:
    """Zero but for the features named, `_` for a space."""
    vector = torch.zeros(len(names))
    for name, weight in weighed.items():
        vector[names.index(name.replace("_", " "))] = weight
    return vector


def scorer_file(network: nn.Module) -> bytes:
    """The network as scorer.onnx."""
    inputs = (torch.zeros(2, 3, len(CANDIDATE_FEATURES)), torch.zeros(2, len(STATE_FEATURES)), torch.ones(2, 3))
    axes = {"candidates": {0: "states", 1: "most"}, "state": {0: "states"}, "action_mask": {0: "states", 1: "most"}}
    return _exported(network, inputs, axes, "logits")


def reranker_file(network: nn.Module) -> bytes:
    """The network as reranker.onnx."""
    inputs = (torch.zeros(2, len(RERANKING_FEATURES)),)
    return _exported(network, inputs, {"statements": {0: "statements"}}, "scores")


def _exported(network: nn.Module, inputs: tuple[Tensor, ...], axes: dict[str, dict[int, str]], output: str) -> bytes:
    buffer = io.BytesIO()
    torch.onnx.export(
        network.eval(), inputs, buffer, input_names=list(axes), output_names=[output], dynamic_axes=axes, dynamo=False
    )
    return buffer.getvalue()


def checkpoint_of(
    folder: Path, scorer: nn.Module, reranker: nn.Module | None = None, search: SearchSettings | None = None
) -> Path:
    """A checkpoint of the networks in the folder."""
    networks: dict[NetworkFile, bytes] = {SCORER: scorer_file(scorer)}
    if reranker is not None:
        networks[RERANKER] = reranker_file(reranker)
    manifest = Manifest(name="test", candidate_features=(), state_features=(), search=search or SearchSettings())
    write_checkpoint(folder, manifest, networks, CARD)
    return folder


def follower(folder: Path, search: SearchSettings | None = None) -> Path:
    """A checkpoint that follows the heuristic's plan."""
    return checkpoint_of(folder, LinearScorer(weights(CANDIDATE_FEATURES, planned_next=40.0)), search=search)
