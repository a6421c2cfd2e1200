"""Makes trajectories durable: a log ahead, then rolling Parquet files that appear whole or not at all.

Invariant: after `append` returns, its episodes survive a kill -9 of anything; each is in the files exactly once,
however often it is delivered.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pydantic import ValidationError

from cluster.schema import to_table
from services.contracts.errors import SinkFault
from services.contracts.trajectory import Trajectory

TRAJECTORIES = "trajectories"
ROLL_EVERY = 256


class Sink:
    """The writer of one node's trajectories. `name` keeps the files of several sinks apart."""

    def __init__(self, run: Path, name: str) -> None:
        self._folder = run / TRAJECTORIES
        self._name = name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._stored = set(stored_episodes(self._folder))
            self._pending = [t for t in self._logged() if t.spec.episode_id not in self._stored]
            self._stored.update(t.spec.episode_id for t in self._pending)
            self._log = self._log_path.open("ab")
        except (OSError, pa.ArrowException) as error:
            raise SinkFault(f"cannot write trajectories to {self._folder}: {error}") from error
        self.roll()
        self._log.truncate(0)  # a torn last line must not be glued to the next record

    def ready(self) -> bool:
        """True once the folder is writable and what was left in the log is stored."""
        return True

    def append(self, records: Sequence[str]) -> int:
        """Store trajectories (JSON); an episode that is there already is left as it is. Returns how many were new."""
        fresh = [t for t in map(Trajectory.model_validate_json, records) if t.spec.episode_id not in self._stored]
        try:
            self._log.write(b"".join(t.model_dump_json().encode() + b"\n" for t in fresh))
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as error:
            raise SinkFault(f"cannot write trajectories to {self._folder}: {error}") from error
        self._pending.extend(fresh)
        self._stored.update(t.spec.episode_id for t in fresh)
        if len(self._pending) >= ROLL_EVERY:
            self.roll()
        return len(fresh)

    def roll(self) -> None:
        """Turn what is logged into a Parquet file, then empty the log."""
        if not self._pending:
            return
        self._pending.sort(key=lambda trajectory: trajectory.spec.episode_id)
        final = self._folder / f"{self._name}-{self._pending[0].spec.episode_id}.parquet"
        partial = final.with_suffix(".tmp")
        try:
            pq.write_table(to_table(self._pending), partial, compression="zstd")
            _sync(partial)
            partial.rename(final)
            _sync(self._folder)
            self._log.truncate(0)
        except (OSError, pa.ArrowException) as error:
            partial.unlink(missing_ok=True)
            raise SinkFault(f"cannot write trajectories to {self._folder}: {error}") from error
        self._pending = []

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self._name}.log"

    def _sweep(self) -> None:
        """Remove what a sink of this name left unfinished when it died."""
        for leftover in self._folder.glob(f"{self._name}-*.tmp"):
            leftover.unlink()

    def _logged(self) -> Iterator[Trajectory]:
        """The whole records of the log; a torn last line was never acknowledged."""
        if not self._log_path.exists():
            return
        for line in self._log_path.read_bytes().split(b"\n"):
            try:
                yield Trajectory.model_validate_json(line)
            except ValidationError:
                continue


def stored_episodes(folder: Path) -> Iterator[str]:
    """The ids of all episodes in the Parquet files of a folder."""
    for path in sorted(folder.glob("*.parquet")):
        yield from pq.read_table(path, columns=["episode_id"]).column("episode_id").to_pylist()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


RemoteSink: Any = ray.remote(Sink)
