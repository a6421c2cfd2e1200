"""What a job was pinned to, as a file: the job itself, the versions it reads, and each file's size and content.

Invariant: the job that is rebuilt from a file of pins is the job that was pinned, over the same bytes, or is refused.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from cluster.etl.catalog import Resolution
from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, PinnedTable
from services.contracts.record import Record

FORMAT: Literal["assay-pins-1"] = "assay-pins-1"


class FilePin(Record):
    """One file of a pinned table."""

    path: str
    bytes: int
    sha256: str


class Pins(Record):
    """A pinned job and all that it hangs on. It holds where production's output lies: the grader's, not the agent's."""

    format: Literal["assay-pins-1"] = FORMAT
    job: EtlJob
    resolutions: tuple[Resolution, ...] = ()
    files: tuple[FilePin, ...] = ()


def tables_of(job: EtlJob) -> tuple[PinnedTable, ...]:
    """Every table that a job is pinned to."""
    return (*job.sources, *(() if job.before is None else (job.before,)), job.after)


def pin_files(tables: Iterable[PinnedTable]) -> tuple[FilePin, ...]:
    """The tables' files with what they hold now, each once, by path. Raises BadInput if one cannot be read."""
    paths = sorted({path for table in tables for path in table.files})
    return tuple(_pin(path) for path in paths)


def _pin(path: str) -> FilePin:
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return FilePin(path=path, bytes=file.tell(), sha256=digest.hexdigest())
    except OSError as error:
        raise BadInput(f"a pinned file cannot be read: {path}: {error.strerror}") from error


def write_pins(pins: Pins, path: Path) -> None:
    """Write the pins for the owner's eyes only: they say where production's output lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(pins.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_pins(path: Path) -> Pins:
    """The pins of a file, as they were written. Raises BadInput."""
    try:
        return Pins.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the pins {path}: {getattr(error, 'strerror', None) or error}") from error
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadInput(f"{path}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error


def rebuild(path: Path) -> EtlJob:
    """The job that was pinned, over files that hold what they held. Raises BadInput if one of them does not."""
    pins = read_pins(path)
    check_files(pins)
    return pins.job


def check_files(pins: Pins) -> None:
    """Raises BadInput that names the first file that is gone, was changed, or was never pinned."""
    pinned = {pin.path: pin for pin in pins.files}
    for path in sorted({path for table in tables_of(pins.job) for path in table.files}):
        pin = pinned.get(path)
        if pin is None:
            raise BadInput(f"the pins do not say what {path} held")
        if not Path(path).exists():
            raise BadInput(f"{path} was pinned and is gone: the run cannot be replayed")
        if Path(path).stat().st_size != pin.bytes or _pin(path) != pin:
            raise BadInput(f"{path} has been changed since it was pinned: the run cannot be replayed")


def contents_of(files: Sequence[FilePin]) -> dict[str, str]:
    """What each file holds, by path."""
    return {pin.path: pin.sha256 for pin in files}
