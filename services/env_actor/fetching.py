"""Brings a task set to this machine, into a cache by content hash: from an fsspec URL, or from wherever Files reach.

Invariant: a folder of the cache is whole and is what its manifest describes, whoever else fetches it at the same time
and whoever dies doing so.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import platformdirs

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.record import Record
from services.env_actor.taskset import MANIFEST, TaskSet, TaskSetManifest, parse_manifest

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Files(Protocol):
    """The files of a task set that lies elsewhere."""

    where: str

    def copy(self, name: str, to: Path) -> None:
        """Copy one file to a new path. Raises BadInput if it cannot be had, OSError if it cannot be written."""
        ...


class UrlFiles:
    """The files under an fsspec URL: https://, s3://, file:// and whatever else a plugin is installed for."""

    def __init__(self, url: str) -> None:
        self.where = url

    def copy(self, name: str, to: Path) -> None:
        """Copy one file to a new path. Raises BadInput if it cannot be had, OSError if it cannot be written."""
        from fsspec.core import url_to_fs  # a tenth of a second of imports, which few commands need

        try:
            files, root = url_to_fs(self.where)
            files.get_file(f"{root.rstrip('/')}/{name}", str(to))
        except FileNotFoundError as error:
            raise BadInput(f"the task set {self.where} lacks {name}, or nothing is there") from error
        except Exception as error:  # each fsspec plugin raises errors of its own
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            raise BadInput(f"cannot read {name} of the task set {self.where}: {_said(error)}") from error


class TaskSetAddress(Record):
    """Where an actor finds its task set: the driver's folder, what must be in it, and what the user named."""

    folder: Path
    task_set_hash: str
    source: str


def is_url(source: str) -> bool:
    """Whether a task set's source is an fsspec URL, and not a folder."""
    return "://" in source


def cache_folder() -> Path:
    """Where fetched task sets are kept, each in a folder named by its hash."""
    return Path(platformdirs.user_cache_dir("assay")) / "tasksets" / "by-hash"


def fetch(source: str, task_set_hash: str | None, cache: Path) -> Path:
    """The local copy of the task set at a URL; without a hash, of the one that is there now. Raises BadInput."""
    return fetch_files(UrlFiles(source), task_set_hash, cache)


def fetch_files(files: Files, task_set_hash: str | None, cache: Path) -> Path:
    """The local copy of a task set, made if there is none of this hash. Raises BadInput, Infrastructure."""
    if task_set_hash is not None and (cache / task_set_hash).exists():
        return cache / task_set_hash
    try:
        text = _manifest_text(files)
        manifest = parse_manifest(text, f"{files.where}/{MANIFEST}")
        found = manifest.task_set_hash()
        if task_set_hash not in (None, found):
            raise BadInput(f"the task set {files.where} has changed: its hash is {found}, not {task_set_hash}")
        _keep(files, text, manifest, cache / found)
    except OSError as error:
        raise Infrastructure(f"cannot keep the task set {files.where} in {cache}: {_said(error)}") from error
    return cache / found


def open_on_node(address: TaskSetAddress, driver: Files | None, cache: Path) -> TaskSet:
    """The task set on an actor's node: the driver's folder if it is there too, else a copy. Raises BadInput."""
    with suppress(BadInput):
        here = TaskSet(address.folder)
        whole = all((here.folder / name).is_file() for name in here.manifest.files())
        if whole and here.manifest.task_set_hash() == address.task_set_hash:
            return here
    files = UrlFiles(address.source) if is_url(address.source) else driver
    if files is None:
        raise BadInput(f"no task set {address.task_set_hash} at {address.folder}")
    return TaskSet(fetch_files(files, address.task_set_hash, cache))


def _manifest_text(files: Files) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST
        files.copy(MANIFEST, path)
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"no task set at {files.where}: {MANIFEST} cannot be read") from error


def _keep(files: Files, text: str, manifest: TaskSetManifest, final: Path) -> None:
    """Make the folder of one hash, once on this machine: who comes second waits and finds it there."""
    partial = final.with_name(f".{final.name}.partial")
    final.parent.mkdir(parents=True, exist_ok=True)
    with alone(final.with_name(f".{final.name}.lock")):
        if final.exists():
            return
        shutil.rmtree(partial, ignore_errors=True)  # of a fetch that was killed
        try:
            _copy_all(files, text, manifest, partial)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _copy_all(files: Files, text: str, manifest: TaskSetManifest, partial: Path) -> None:
    for database in manifest.databases:
        if "/" in database or database.startswith("."):
            raise BadInput(f"the task set {files.where} names a database {database!r}, which is no file name")
    for name, sha256 in manifest.files().items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.copy(name, path)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise BadInput(f"{name} of the task set {files.where} was changed: its hash is not the manifest's")
            os.fsync(file.fileno())
    (partial / MANIFEST).write_text(text, encoding="utf-8")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; the system lets it go if the holder dies."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _said(error: Exception) -> str:
    """The first line of an error, or its name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
