"""Checkpoints: a folder with networks, a manifest and a model card, read whole and checked, or refused.

Invariant: what is run are the bytes whose hash the manifest has, and they know today's features.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from services.contracts.errors import BadInput
from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES
from services.policy.trained.manifest import CARD, MANIFEST, RERANKER, SCORER, Manifest, NetworkFile
from services.policy.trained.network import Network
from services.policy.trained.reranking import INTERFACE as RERANKING
from services.policy.trained.reranking import RERANKING_FEATURES, Reranker
from services.policy.trained.scoring import INTERFACE as SCORING
from services.policy.trained.scoring import Scorer

MOST_BYTES = 20 * 1024 * 1024
"""Of all files of a checkpoint together."""
_NETWORKS: tuple[NetworkFile, ...] = (SCORER, RERANKER)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds, ready to play."""

    manifest: Manifest
    scorer: Scorer
    reranker: Reranker | None


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint of a folder. Raises BadInput for what is missing, damaged, too large or of other features."""
    manifest = read_manifest(folder)
    _check_features(folder, manifest)
    _check_sizes(folder, (MANIFEST, CARD, *manifest.files))
    models = {name: _verified(folder / name, sha256) for name, sha256 in manifest.files.items()}
    scorer = Scorer(Network(models[SCORER], SCORING, str(folder / SCORER)))
    if RERANKER not in models:
        return Checkpoint(manifest, scorer, None)
    return Checkpoint(manifest, scorer, Reranker(Network(models[RERANKER], RERANKING, str(folder / RERANKER))))


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone. Raises BadInput."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BadInput(f"{folder} is no checkpoint: cannot read {MANIFEST}: {error.strerror}") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "JSON"
        raise BadInput(f"{folder / MANIFEST}: {place}: {first['msg']}") from error


def write_checkpoint(folder: Path, manifest: Manifest, networks: Mapping[NetworkFile, bytes], card: str) -> Manifest:
    """Write a checkpoint, the manifest last, with today's features and the hashes filled in; the manifest as written.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in _NETWORKS:
        if name in networks:
            (folder / name).write_bytes(networks[name])
    (folder / CARD).write_text(card, encoding="utf-8")
    complete = manifest.model_copy(
        update={
            "candidate_features": CANDIDATE_FEATURES,
            "state_features": STATE_FEATURES,
            "reranking_features": RERANKING_FEATURES if RERANKER in networks else (),
            "files": {name: hashlib.sha256(networks[name]).hexdigest() for name in _NETWORKS if name in networks},
        }
    )
    (folder / MANIFEST).write_text(complete.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return complete


def _check_features(folder: Path, manifest: Manifest) -> None:
    if SCORER not in manifest.files:
        raise BadInput(f"{folder / MANIFEST}: files: {SCORER} is missing")
    reranking = RERANKING_FEATURES if RERANKER in manifest.files else ()
    trained = (manifest.candidate_features, manifest.state_features, manifest.reranking_features)
    for theirs, ours, kind in zip(
        trained, (CANDIDATE_FEATURES, STATE_FEATURES, reranking), ("candidate", "state", "reranking"), strict=True
    ):
        if theirs != ours:
            differing = sorted(set(theirs).symmetric_difference(ours)) or ["their order"]
            raise BadInput(
                f"{folder} was trained on other {kind} features than today's ({differing[0]} differs): train it again"
            )


def _check_sizes(folder: Path, names: tuple[str, ...]) -> None:
    total = 0
    for name in names:
        try:
            total += (folder / name).stat().st_size
        except OSError as error:
            raise BadInput(f"{folder} is no whole checkpoint: cannot read {name}: {error.strerror}") from error
    if total > MOST_BYTES:
        raise BadInput(f"{folder} has {total / 2**20:.1f} MB; a checkpoint may have {MOST_BYTES // 2**20} MB")


def _verified(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadInput(f"{path} is damaged: its SHA-256 is not the manifest's")
    return content
