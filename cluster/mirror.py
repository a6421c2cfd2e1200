"""A run folder's copy behind a URL: s3://, gs://, file://, or what else pyarrow or an fsspec plugin reaches.

Invariant: a file appears there whole or not at all, and what is there was whole on a disk before. The log ahead never
leaves its node.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs
import pyarrow as pa
from pyarrow import fs
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from services.contracts.errors import BadInput, SinkFault

TRIES = 4
SLOWEST_S = 4.0
MANIFEST = "manifest.json"
SPENDING = "spending.json"
KEPT = (MANIFEST, SPENDING, "policies.json", "report.json", "report.md", "*.svg", "trajectories/*.parquet")
ONCE_BACK = "run again with --resume once it is back"
"""What to do about a URL that was good when the run began."""
_LASTING = ".parquet"
"""Such a file never changes; what is not one is copied whenever it is asked for."""


class Mirror:
    """The copy of one run. Picklable: each process opens the file system for itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: tuple[Any, str] | None = None

    def __reduce__(self) -> tuple[type["Mirror"], tuple[str]]:
        return Mirror, (self.url,)

    def folder(self) -> Path:
        """Where this machine works on the run: the same folder whenever and on whichever node the URL is named."""
        return Path(platformdirs.user_cache_dir("assay")) / "runs" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def sizes(self) -> dict[str, int]:
        """The files that are there and their bytes, by their names in the run folder. Raises BadInput."""
        files, root = self._open()
        try:
            found = files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        except (OSError, pa.ArrowException) as error:
            raise BadInput(f"cannot list {self.url}: {_said(error)}") from error
        return {
            str(PurePosixPath(info.path).relative_to(root)): info.size
            for info in found
            if info.type == fs.FileType.File and not info.path.endswith(".tmp")
        }

    def push(self, folder: Path) -> None:
        """Copy what is kept of a run and is not there, or differs in size. Raises SinkFault."""
        there = self._there()
        for name in _found(folder, KEPT):
            if not name.endswith(_LASTING) or there.get(name) != (folder / name).stat().st_size:
                self.put(folder, name)

    def add(self, folder: Path, pattern: str) -> None:
        """Copy the files of a pattern of which none is there by that name. Raises SinkFault."""
        there = self._there()
        for name in _found(folder, [pattern]):
            if name not in there:
                self.put(folder, name)

    def put(self, folder: Path, name: str) -> None:
        """Copy one file of the run. Raises SinkFault after a few tries."""
        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(max=SLOWEST_S, multiplier=0.1),
            retry=retry_if_exception_type((OSError, pa.ArrowException)),
            reraise=True,
        )
        try:
            tries(self._put_once, folder / name, name)
        except (OSError, pa.ArrowException) as error:
            raise SinkFault(f"cannot write {name} to {self.url}: {_said(error)}") from error

    def fetch(self, folder: Path) -> None:
        """Copy what is there and not in the folder, or differs in size. Raises BadInput.

        A folder of another run, which had the URL before this one, is removed first. What was spent is known best where
        it was spent.
        """
        there = self.sizes()
        if MANIFEST in there and (folder / MANIFEST).exists():
            mine = (folder / MANIFEST).read_bytes()
            self._fetch_one(MANIFEST, folder / MANIFEST)
            if _begun((folder / MANIFEST).read_bytes()) != _begun(mine):
                shutil.rmtree(folder)
        for name, size in there.items():
            here = folder / name
            if not here.exists() or not (name == SPENDING or (name.endswith(_LASTING) and here.stat().st_size == size)):
                self._fetch_one(name, here)

    def _there(self) -> dict[str, int]:
        try:
            return self.sizes()
        except BadInput as error:
            raise SinkFault(f"{error}; {ONCE_BACK}") from error

    def _put_once(self, path: Path, name: str) -> None:
        files, root = self._open()
        final = f"{root}/{name}"
        if files.type_name in ("s3", "gcs", "abfs"):  # there an object appears when its stream is closed
            with path.open("rb") as source, files.open_output_stream(final) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            return
        files.create_dir(str(PurePosixPath(final).parent), recursive=True)
        with path.open("rb") as source, files.open_output_stream(f"{final}.tmp") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        files.move(f"{final}.tmp", final)

    def _fetch_one(self, name: str, to: Path) -> None:
        files, root = self._open()
        to.parent.mkdir(parents=True, exist_ok=True)
        partial = to.with_suffix(".fetched")
        try:
            with files.open_input_stream(f"{root}/{name}") as source, partial.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        except (OSError, pa.ArrowException) as error:
            raise BadInput(f"cannot read {name} of {self.url}: {_said(error)}") from error
        partial.replace(to)

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            self._opened = _file_system(self.url)
        return self._opened


def _file_system(url: str) -> tuple[Any, str]:
    """pyarrow's own file system for the URL, else fsspec's; and the path in it. Raises BadInput."""
    try:
        files, root = fs.FileSystem.from_uri(url)
    except (ValueError, OSError, pa.ArrowException):  # no scheme of pyarrow's
        from fsspec.core import url_to_fs

        try:
            inner, root = url_to_fs(url)
        except Exception as error:  # each fsspec plugin raises errors of its own
            raise BadInput(f"no run folder can be at {url}: {_said(error)}") from error
        files = fs.PyFileSystem(fs.FSSpecHandler(inner))
    return files, root.rstrip("/")


def _found(folder: Path, patterns: Iterable[str]) -> Iterator[str]:
    """The names in the folder of the files of some patterns."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            yield path.relative_to(folder).as_posix()


def _begun(manifest: bytes) -> object:
    """What stays the same of a run's manifest: an evaluation's grows by policies and samples."""
    try:
        read = json.loads(manifest)
    except ValueError:
        return manifest
    return (read.get("created_at"), read.get("task_set_hash")) if isinstance(read, dict) else read


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
