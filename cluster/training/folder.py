"""The training's folder: its manifest, which says whether it can be gone on with."""

from pathlib import Path

from pydantic import ValidationError

from cluster.run import write_whole
from cluster.training.settings import TrainConfig
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.env_actor.taskset import TaskSet

MANIFEST = "training.json"


class TrainingManifest(Record):
    """What a training is."""

    config: TrainConfig
    config_hash: str
    task_set_hash: str


def begin(folder: Path, config: TrainConfig, task_set: TaskSet, resume: bool) -> None:
    """Make the folder, or check that the training in it is this one. Raises BadInput."""
    manifest = TrainingManifest(
        config=config, config_hash=config.config_hash(), task_set_hash=task_set.manifest.task_set_hash()
    )
    path = folder / MANIFEST
    if resume:
        _check_same(path, manifest)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is there already: name another --out, or add --resume to go on with that training")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, manifest.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise BadInput(f"cannot write the training's folder {folder}: {error.strerror}") from error


def _check_same(path: Path, manifest: TrainingManifest) -> None:
    try:
        begun = TrainingManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BadInput(f"no training in {path.parent}: {MANIFEST} cannot be read") from error
    if begun.config_hash != manifest.config_hash:
        raise BadInput(f"cannot resume {path.parent}: the config has changed since")
    if begun.task_set_hash != manifest.task_set_hash:
        raise BadInput(f"cannot resume {path.parent}: the task set has changed since")
