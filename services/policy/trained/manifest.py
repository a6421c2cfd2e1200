"""The manifest of a checkpoint: what it was trained on, how it plays, and the hashes of its networks."""

from typing import Final, Literal

from pydantic import Field

from services.contracts.record import Record

FORMAT_VERSION: Literal[1] = 1
SCORER: Final = "scorer.onnx"
RERANKER: Final = "reranker.onnx"
MANIFEST, CARD = "manifest.json", "README.md"
NetworkFile = Literal["scorer.onnx", "reranker.onnx"]


class SearchSettings(Record):
    """How the whole queries are found that are tried."""

    width: int = Field(default=5, ge=1, le=32, description="partial queries that the beam keeps")
    tries: int = Field(default=4, ge=1, le=8, description="queries tried at most, the likeliest first")
    steps_left: int = Field(default=9, ge=0, le=64, description="the state feature `steps left`, before its scaling")
    length_power: float = Field(
        default=0.0, ge=0, le=1, description="the sum of log-probabilities is divided by operations to this power"
    )


class TrainedOn(Record):
    """Names of databases: those whose golds were imitated, those that were played, and those that were kept apart."""

    train: tuple[str, ...] = ()
    online: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


class Manifest(Record):
    """`manifest.json`. A checkpoint of other features, or of another format, is not read."""

    format_version: Literal[1] = FORMAT_VERSION
    name: str = Field(min_length=1)
    candidate_features: tuple[str, ...]
    state_features: tuple[str, ...]
    reranking_features: tuple[str, ...] = Field(default=(), description="none where there is no re-ranker")
    search: SearchSettings = SearchSettings()
    databases: TrainedOn = TrainedOn()
    seeds: tuple[int, ...] = ()
    config_hash: str = Field(default="", description="of the training's config")
    figures: dict[str, float] = Field(default={}, description="measured in training and on what was kept apart")
    files: dict[NetworkFile, str] = Field(default={}, description="SHA-256, in hex")
