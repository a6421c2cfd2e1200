"""Pinned files where a run can read them: in place if everybody may, else as copies of the grader's own.

Invariant: what a run is shown of a file's path is enough to read its partition columns, and no more is copied.
"""

import os
import shutil
import stat
from pathlib import Path

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import EtlJob, PinnedTable


def stage(job: EtlJob, folder: Path) -> EtlJob:
    """The job over files that the unprivileged user of a run can read. Raises BadInput, Infrastructure."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    sources = tuple(_staged(table, folder / f"source{number}") for number, table in enumerate(job.sources))
    before = _staged(job.before, folder / "before") if job.before else None
    return job.model_copy(update={"sources": sources, "before": before})


def _staged(table: PinnedTable, folder: Path) -> PinnedTable:
    files = tuple(str(_one(Path(path).resolve(), folder, n)) for n, path in enumerate(table.files))
    return table.model_copy(update={"files": files})


def _one(path: Path, folder: Path, number: int) -> Path:
    if not path.is_file():
        raise BadInput(f"there is no file at {path}: pin the job again")
    if os.geteuid() != 0 or _public(path):
        return path
    parts = [part for part in path.parts[:-1] if "=" in part]
    copy = folder.joinpath(*parts, f"{number}.parquet")
    try:
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o444)
    except OSError as error:
        raise Infrastructure(f"cannot copy {path}: {error.strerror}") from error
    return copy


def _public(path: Path) -> bool:
    """Whether everybody may read the file and none but its owner may write it."""
    mode = path.stat().st_mode
    open_to_all = mode & stat.S_IROTH and not mode & stat.S_IWOTH
    return bool(open_to_all) and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
