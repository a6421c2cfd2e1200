"""The run folder: its manifest, and what is already played in it."""

import contextlib
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from cluster.config import RolloutConfig
from cluster.mirror import ONCE_BACK, Mirror
from cluster.sink import TRAJECTORIES, recover
from cluster.tasksets.opening import lasting_source
from services.contracts.errors import BadInput, Incomplete, OverBudget, SinkFault
from services.contracts.record import Record
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.taskset import TaskSet

MANIFEST = "manifest.json"
_UNFINISHED = "manifest.tmp"
SHOWN = 20


class RunManifest(Record):
    """What a run is: enough to resume it, to regrade it and to play it again."""

    run_id: str
    created_at: str
    config: RolloutConfig
    config_hash: str
    task_set: str
    task_set_name: str
    task_set_hash: str
    limit: int | None
    planned: int
    versions: dict[str, str]


class RunFolder:
    """A run's folder. `start` makes a new one, `open` takes one that is there; a mirror has its copy behind a URL."""

    def __init__(self, path: Path, manifest: RunManifest, mirror: Mirror | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self.mirror = mirror

    @classmethod
    def start(
        cls,
        path: Path,
        config: RolloutConfig,
        task_set: TaskSet,
        specs: list[EpisodeSpec],
        limit: int | None,
        mirror: Mirror | None = None,
    ) -> "RunFolder":
        """A new run. Raises BadInput if the folder holds anything, or the mirror does."""
        if mirror is not None:
            _make_way(path, mirror)
        if path.exists() and (not path.is_dir() or any(found.name != _UNFINISHED for found in path.iterdir())):
            raise BadInput(f"{path} is there already: name another --out, or add --resume to finish that run")
        manifest = RunManifest(
            run_id=specs[0].run_id,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            config_hash=config.config_hash(),
            task_set=lasting_source(config.tasks.path, task_set),
            task_set_name=task_set.manifest.name,
            task_set_hash=task_set.manifest.task_set_hash(),
            limit=limit,
            planned=len(specs),
            versions=_versions(),
        )
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_whole(path / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
            (path / TRAJECTORIES).mkdir()
        except OSError as error:
            raise BadInput(f"cannot write the run folder {path}: {error.strerror}") from error
        run = cls(path, manifest, mirror)
        run.publish()
        return run

    @classmethod
    def open(cls, path: Path, mirror: Mirror | None = None) -> "RunFolder":
        """The run of a folder, and of what its mirror has more. Raises BadInput if there is none."""
        if mirror is not None:
            mirror.fetch(path)
        try:
            text = (path / MANIFEST).read_text(encoding="utf-8")
            return cls(path, RunManifest.model_validate_json(text), mirror)
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"no run at {mirror.url if mirror else path}: {MANIFEST} cannot be read") from error
        except ValidationError as error:
            raise BadInput(f"{path / MANIFEST}: {error.errors()[0]['msg']}") from error

    @classmethod
    def resume(
        cls, path: Path, config: RolloutConfig, task_set: TaskSet, limit: int | None, mirror: Mirror | None = None
    ) -> "RunFolder":
        """The run of a folder, to be finished: what was logged when it ended is stored. Raises BadInput, SinkFault."""
        run = cls.open(path, mirror)
        run.check_same(config, task_set, limit)
        recover(path, mirror)
        return run

    @property
    def birth(self) -> str:
        """Six hex digits that tell it from a run that was in its place before."""
        return hashlib.sha256(f"{self.manifest.created_at} {self.manifest.task_set_hash}".encode()).hexdigest()[:6]

    @property
    def where(self) -> str:
        """What a user calls the run folder."""
        return self.mirror.url if self.mirror else str(self.path)

    def gather(self) -> None:
        """Have here what the sinks of all nodes have stored: each episode once. Raises BadInput, SinkFault."""
        recover(self.path, self.mirror)
        if self.mirror is not None:
            try:
                self.mirror.fetch(self.path)
            except BadInput as error:
                raise SinkFault(f"{error}; {ONCE_BACK}") from error
        self.drop_duplicates()
        self.publish()

    def publish(self) -> None:
        """Copy to the mirror what it lacks. Raises SinkFault."""
        if self.mirror is not None:
            self.mirror.push(self.path)

    def check_same(self, config: RolloutConfig, task_set: TaskSet, limit: int | None) -> None:
        """Raise BadInput unless config, task set and limit are those that the run was started with."""
        if config.config_hash() != self.manifest.config_hash:
            raise BadInput(
                f"cannot resume {self.where}: the config has changed since ({_changed(config, self.manifest.config)})"
            )
        if task_set.manifest.task_set_hash() != self.manifest.task_set_hash:
            raise BadInput(f"cannot resume {self.where}: the task set {task_set.folder} has changed since")
        if limit != self.manifest.limit:
            raise BadInput(f"cannot resume {self.where}: it was started with --limit {self.manifest.limit}")

    def files(self) -> list[Path]:
        """The Parquet files, sorted."""
        return sorted((self.path / TRAJECTORIES).glob("*.parquet"))

    def episodes(self) -> Counter[str]:
        """How often each episode id is stored. Raises BadInput for a damaged file."""
        counts: Counter[str] = Counter()
        for path in self.files():
            counts.update(_read_ids(path))
        return counts

    def drop_duplicates(self) -> None:
        """Keep the first row of an episode that two sinks stored."""
        seen: set[str] = set()
        for path in self.files():
            ids = _read_ids(path)
            if seen.isdisjoint(ids):
                seen.update(ids)
                continue
            table = pq.read_table(path)
            kept = table.filter(pc.invert(pc.is_in(table["episode_id"], pa.array(sorted(seen), pa.string()))))
            partial = path.with_suffix(".tmp")
            pq.write_table(kept, partial, compression="zstd")
            partial.rename(path)
            seen.update(ids)

    def check_complete(self, specs: Iterable[EpisodeSpec]) -> None:
        """Raise Incomplete unless every planned episode is stored exactly once, and no other."""
        planned = {spec.episode_id: spec for spec in specs}
        counts = self.episodes()
        missing = [spec for episode_id, spec in planned.items() if counts[episode_id] != 1]
        if missing:
            lost = f"{len(missing)} of {len(planned)} episodes are missing"
            raise Incomplete(f"{lost}, run again with --resume: {_named(missing)}")
        strange = counts.keys() - planned.keys()
        if strange:
            raise Incomplete(f"{self.path} holds {len(strange)} episodes that were not planned, as {min(strange)}")

    def check_affordable(self, specs: Sequence[EpisodeSpec], overspent: str | None) -> None:
        """Raise OverBudget, with what was not played, if the budget was spent before all episodes were."""
        counts = self.episodes()
        left = [spec for spec in specs if not counts[spec.episode_id]]
        if overspent is not None and left:
            lost = f"{len(left)} of {len(specs)} episodes were not played"
            raise OverBudget(f"{overspent}; {lost}, raise it and run again with --resume: {_named(left)}")

    def row(self, episode: str) -> dict[str, Any]:
        """The stored row of one episode, by its id or the start of it. Raises BadInput if none or several match."""
        rows: list[dict[str, Any]] = []
        for path in self.files():
            table = pq.read_table(path)
            rows += table.filter(pc.starts_with(table["episode_id"], episode)).to_pylist()
        if len(rows) != 1:
            raise BadInput(
                f"{'more than one' if rows else 'no'} episode of {self.path} has an id that starts {episode!r}"
            )
        return rows[0]


def place_of(out: str) -> tuple[Path, Mirror | None]:
    """Where a run is worked on, and its mirror if `out` is a URL."""
    if "://" not in out:
        return Path(out), None
    mirror = Mirror(out)
    return mirror.folder(), mirror


def _make_way(path: Path, mirror: Mirror) -> None:
    """Nothing there means a new run: what is still here is of one that somebody removed there."""
    if mirror.sizes():
        raise BadInput(f"{mirror.url} is there already: name another --out, or add --resume to finish that run")
    shutil.rmtree(path, ignore_errors=True)


def _named(specs: Sequence[EpisodeSpec]) -> str:
    named = [f"{spec.episode_id} ({spec.task_id}, {spec.policy}, {spec.sample_index})" for spec in specs[:SHOWN]]
    return ", ".join(named) + (f" and {len(specs) - SHOWN} more" if len(specs) > SHOWN else "")


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    partial = path.with_suffix(".tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_ids(path: Path) -> list[str]:
    try:
        ids: list[str] = pq.read_table(path, columns=["episode_id"]).column("episode_id").to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{path} is damaged: {error}") from error
    return ids


def _changed(ours: RolloutConfig, theirs: RolloutConfig) -> str:
    mine, other = ours.model_dump(mode="json"), theirs.model_dump(mode="json")
    return ", ".join(
        f"{key}: {json.dumps(other[key])} -> {json.dumps(mine[key])}" for key in mine if mine[key] != other[key]
    )


def _versions() -> dict[str, str]:
    versions = {name: version(name) for name in ("duckdb", "ray", "pyarrow", "sqlglot", "pydantic")}
    commit = ""
    with contextlib.suppress(OSError):
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "assay": _own_version(),
        "commit": commit,
        "python": platform.python_version(),
        **versions,
        "os": sys.platform,
    }


def _own_version() -> str:
    """Of the installed distribution, or of these files: a Ray job has no wheel of ours."""
    with contextlib.suppress(PackageNotFoundError):
        return version("assay")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])
