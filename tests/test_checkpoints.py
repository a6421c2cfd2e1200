"""Checkpoints: what is whole is read, anything else is refused with one line that says what is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor, nn

from cluster.config import RolloutConfig
from cluster.evaluation.playing import policy_files
from services.contracts.errors import BadInput
from services.policy.registry import check_plays, policy_maker
from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES
from services.policy.trained.checkpoint import MOST_BYTES, read_checkpoint, write_checkpoint
from services.policy.trained.manifest import CARD, MANIFEST, RERANKER, SCORER, Manifest, SearchSettings
from services.policy.trained.reranking import RERANKING_FEATURES
from tests.checkpoints import LinearReranker, RandomScorer, checkpoint_of, scorer_file, weights


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reranker = LinearReranker(weights(RERANKING_FEATURES, first=1.0))
    search = SearchSettings(width=3, tries=2, steps_left=7)
    return checkpoint_of(tmp_path_factory.mktemp("checkpoint"), RandomScorer(0), reranker, search)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_a_whole_checkpoint_is_read_as_it_was_written(made: Path) -> None:
    checkpoint = read_checkpoint(made)
    assert checkpoint.manifest.search == SearchSettings(width=3, tries=2, steps_left=7)
    assert checkpoint.manifest.candidate_features == CANDIDATE_FEATURES
    assert checkpoint.manifest.reranking_features == RERANKING_FEATURES
    assert set(checkpoint.manifest.files) == {SCORER, RERANKER}
    assert checkpoint.reranker is not None


def edited(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / MANIFEST).read_text()
        assert old in text
        (folder / MANIFEST).write_text(text.replace(old, new, 1))

    return edit


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def damaged(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return damage


def too_large(folder: Path) -> None:
    (folder / SCORER).write_bytes(bytes(MOST_BYTES))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (shutil.rmtree, "is no checkpoint: cannot read manifest.json"),
        (without(MANIFEST), "is no checkpoint: cannot read manifest.json"),
        (without(SCORER), "is no whole checkpoint: cannot read scorer.onnx"),
        (without(RERANKER), "is no whole checkpoint: cannot read reranker.onnx"),
        (without(CARD), "is no whole checkpoint: cannot read README.md"),
        (damaged(SCORER), "scorer.onnx is damaged"),
        (damaged(RERANKER), "reranker.onnx is damaged"),
        (too_large, "a checkpoint may have 20 MB"),
        (edited("{", ""), "manifest.json: JSON: "),
        (edited('"format_version": 1', '"format_version": 2'), "manifest.json: format_version: "),
        (edited('"name"', '"nam"'), "manifest.json: name: "),
        (edited('"scorer.onnx"', '"../scorer.onnx"'), "manifest.json: files"),
        (edited('"kind scan"', '"kind scam"'), "trained on other candidate features than today's"),
        (edited('"stage begin"', '"stage began"'), "trained on other state features"),
        (edited('"rank"', '"place"'), "trained on other reranking features"),
        (edited('"kind scan",\n  "kind join"', '"kind join",\n  "kind scan"'), "their order differs"),
    ],
)
def test_a_checkpoint_that_is_not_whole_or_not_of_today_is_refused(
    folder: Path, harm: Callable[[Path], None], told: str
) -> None:
    harm(folder)
    with pytest.raises(BadInput, match=told) as refused:
        policy_maker(f"trained:{folder}")
    assert "\n" not in str(refused.value)


class Wide(nn.Module):
    """Gives a column too many."""

    def forward(self, candidates: Tensor, state: Tensor, action_mask: Tensor) -> Tensor:
        return candidates.sum(2, keepdim=True) + state.sum() + action_mask.sum()


class Blind(nn.Module):
    """Does not look at the state, so that its file has no such input."""

    def forward(self, candidates: Tensor, state: Tensor, action_mask: Tensor) -> Tensor:
        return candidates.sum(2) + action_mask


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (b"not a network", "cannot be loaded"),
        (Wide(), r"logits has the shape \(2, 3, 1\), not \(B, M\)"),
        (Blind(), "must have the inputs candidates, state, action_mask and output logits"),
    ],
)
def test_a_network_of_another_interface_is_refused(tmp_path: Path, network: nn.Module | bytes, told: str) -> None:
    content = network if isinstance(network, bytes) else scorer_file(network)
    write_checkpoint(tmp_path, manifest(), {SCORER: content}, "# A card\n")
    with pytest.raises(BadInput, match=told):
        read_checkpoint(tmp_path)


def manifest() -> Manifest:
    return Manifest(name="test", candidate_features=CANDIDATE_FEATURES, state_features=STATE_FEATURES)


def test_a_relative_path_is_the_same_checkpoint_wherever_the_policy_is_made(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.parent)
    make = policy_maker(f"trained:{made.name}")
    monkeypatch.chdir(tmp_path)
    make()


def test_a_checkpoint_plays_explore_only(made: Path) -> None:
    check_plays(f"trained:{made}", {"explore"})
    with pytest.raises(BadInput, match="plays explore tasks only"):
        check_plays(f"trained:{made}", {"explore", "analyst"})


def test_an_evaluation_remembers_which_checkpoint_played(folder: Path) -> None:
    config = RolloutConfig(name="x", policies=(f"trained:{folder}", "random"))
    before = policy_files(config)
    edited('"name": "test"', '"name": "other"')(folder)
    assert list(before) == [f"trained:{folder}"]
    assert policy_files(config) != before


def test_the_documentation_has_the_sizes_of_the_networks() -> None:
    text = (Path(__file__).parents[1] / "docs" / "trained.md").read_text()
    assert f"(B, M, {len(CANDIDATE_FEATURES)})" in text
    assert f"(B, {len(STATE_FEATURES)})" in text
    assert f"(K, {len(RERANKING_FEATURES)})" in text
    for first in ("operations", "result failed", "same rows", "is the plan", "asks count", "cells used"):
        assert f"| {RERANKING_FEATURES.index(first)}–" in text
