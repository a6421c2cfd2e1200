"""The run folder of an evaluation. Unlike a rollout's it may grow: by policies and samples, never by anything else.

Episodes that are stored stay, so that only what is new is played. The files that policies are read from are
remembered by their hash: a changed script under an old name would not be the policy that played.
"""

import json
from collections import Counter
from pathlib import Path

from cluster.config import RolloutConfig
from cluster.mirror import Mirror
from cluster.rollout import Prepared
from cluster.run import MANIFEST, RunFolder, write_whole
from cluster.sink import recover
from services.contracts.errors import BadInput
from services.env_actor.taskset import sha256_of
from services.policy.trained.manifest import MANIFEST as CHECKPOINT

POLICY_FILES = "policies.json"


def start(path: Path, prepared: Prepared, mirror: Mirror | None = None) -> RunFolder:
    """A new evaluation. Raises BadInput if the folder holds anything, or the mirror does."""
    _check_distinct(prepared.config)
    run = RunFolder.start(path, prepared.config, prepared.task_set, prepared.specs, None, mirror)
    _remember(path, policy_files(prepared.config))
    run.publish()
    return run


def grow(path: Path, prepared: Prepared, mirror: Mirror | None = None) -> RunFolder:
    """The evaluation of a folder, to be finished, with what the config now adds to it. Raises BadInput, SinkFault."""
    _check_distinct(prepared.config)
    run = RunFolder.open(path, mirror)
    _check_growth(run, prepared)
    hashes = policy_files(prepared.config)
    for name, sha256 in _remembered(path).items():
        if hashes.get(name, sha256) != sha256:
            raise BadInput(f"cannot resume {run.where}: the file of {name} has changed since; give it another name")
    recover(path, mirror)
    manifest = run.manifest.model_copy(
        update={
            "config": prepared.config,
            "config_hash": prepared.config.config_hash(),
            "run_id": prepared.specs[0].run_id,
            "planned": len(prepared.specs),
        }
    )
    if manifest != run.manifest:
        write_whole(path / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    _remember(path, hashes)
    grown = RunFolder(path, manifest, mirror)
    grown.publish()
    return grown


def policy_files(config: RolloutConfig) -> dict[str, str]:
    """The SHA-256 of each policy's file, for the policies that are read from one; of a checkpoint its manifest's."""
    named = {name: Path(name.partition(":")[2]) for name in config.policies if ":" in name}
    named = {name: path / CHECKPOINT if path.is_dir() else path for name, path in named.items()}
    return {name: sha256_of(path) for name, path in sorted(named.items()) if path.is_file()}


def _check_distinct(config: RolloutConfig) -> None:
    twice = [name for name, count in Counter(config.policies).items() if count > 1]
    if twice:
        raise BadInput(f"policies: {twice[0]} is named twice")


def _check_growth(run: RunFolder, prepared: Prepared) -> None:
    """Raise BadInput unless every stored episode is one of those planned now."""
    manifest, new = run.manifest, prepared.config
    old = manifest.config
    if manifest.task_set_hash != prepared.task_set.manifest.task_set_hash():
        raise BadInput(f"cannot resume {run.where}: the task set {prepared.task_set.folder} has changed since")
    if manifest.limit is not None:
        raise BadInput(f"cannot resume {run.where}: it is a rollout that was started with --limit {manifest.limit}")
    lost = [name for name in old.policies if name not in new.policies]
    if lost:
        raise BadInput(
            f"cannot resume {run.where}: it has episodes of {', '.join(lost)}, which the config no longer names"
        )
    if new.samples < old.samples:
        raise BadInput(f"cannot resume {run.where}: it has {old.samples} samples a task, the config only {new.samples}")
    may_change = {"policies": old.policies, "samples": old.samples, "actors": old.actors, "budget": old.budget}
    kept = new.model_copy(update=may_change)
    if kept != old:
        changed = [key for key in RolloutConfig.model_fields if getattr(kept, key) != getattr(old, key)]
        raise BadInput(
            f"cannot resume {run.where}: {', '.join(changed)} changed; an evaluation grows by policies and samples only"
        )


def _remember(path: Path, hashes: dict[str, str]) -> None:
    write_whole(path / POLICY_FILES, json.dumps(hashes, indent=1) + "\n")


def _remembered(path: Path) -> dict[str, str]:
    """The hashes of the policies' files when they were played; none for a folder that a rollout made."""
    try:
        found: dict[str, str] = json.loads((path / POLICY_FILES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BadInput(f"{path / POLICY_FILES} is damaged: {error}") from error
    return found
