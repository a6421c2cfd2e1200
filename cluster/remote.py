"""What comes back from another process of the Ray cluster, and the driver's own files as others see them."""

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from services.contracts.errors import AssayError, BadInput, Infrastructure

PART_BYTES = 32 * 1024 * 1024


def result_of(references: Any, timeout_s: float | None = None) -> Any:
    """What was returned; an error of ours that was raised there is raised as itself."""
    try:
        return ray.get(references, timeout=timeout_s)
    except RayTaskError as error:
        cause = error.cause
        while isinstance(cause, RayTaskError):
            cause = cause.cause
        if isinstance(cause, AssayError):
            raise cause from error
        raise


class DriverFiles:
    """The files of a folder on the driver's node, read there in parts that travel through Ray's object store.

    Nothing travels unless a node asks; a node that joins later can ask too.
    """

    def __init__(self, folder: Path, node_id: str) -> None:
        self.where = str(folder)
        self._folder = folder
        self._node_id = node_id

    def copy(self, name: str, to: Path) -> None:
        """Copy one file to a new path. Raises BadInput if it cannot be had, OSError if it cannot be written."""
        there = NodeAffinitySchedulingStrategy(node_id=self._node_id, soft=False)
        read = RemoteRead.options(num_cpus=0, scheduling_strategy=there)
        with to.open("wb") as file:
            try:
                while part := result_of(read.remote(self._folder / name, file.tell())):
                    file.write(part)
            except RayError as error:
                raise Infrastructure(f"{name} of the task set {self.where} did not come from the driver") from error


def read_part(path: Path, offset: int) -> bytes:
    """At most 32 MB of a file; empty at its end. Raises BadInput."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PART_BYTES)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


RemoteRead: Any = ray.remote(read_part)
