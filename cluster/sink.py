"""Makes trajectories durable: a log ahead, then rolling Parquet files that appear whole or not at all.

Invariant: after `append` returns, its episodes survive a kill -9 of anything; each is in a sink's files exactly
once, however often it gets it. What two sinks got is for `RunFolder.drop_duplicates`.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cluster.mirror import Mirror
from cluster.parcel import pack, unpack
from services.contracts.errors import SinkFault

TRAJECTORIES = "trajectories"
ROLL_BYTES = 4 * 1024 * 1024
"""Of the log, after which a Parquet file is written: some thousand short episodes, or some hundred of a model's."""
PATIENCE_S = 20.0
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What a file system says that knows no locks; two runs at once in one folder then go unnoticed."""


class Sink:
    """The writer of one process's trajectories. `name` keeps the files of several sinks apart.

    With a mirror, each finished file is copied there before the log is emptied. What the sink of this name before had
    logged is stored at the start.
    """

    def __init__(self, run: Path, name: str, mirror: Mirror | None = None) -> None:
        """Raises SinkFault."""
        self._run = run
        self._mirror = mirror
        self._folder = run / TRAJECTORIES
        self._name = name
        with contextlib.ExitStack() as undone:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._log = undone.enter_context(self._log_path.open("a+b"))
                _lock(self._log)
                self._sweep()
                self._stored = set(stored_episodes(self._folder, f"{name}-*.parquet"))
                self._log.seek(0)
                self._pending = [self._fresh(rows) for rows in unpack(self._log.read())]
                self.roll()
                self._log.truncate(0)  # a torn last parcel must not be glued to the next one
            except (OSError, pa.ArrowException) as error:
                raise SinkFault(f"cannot write trajectories to {self._folder}: {error}") from error
            undone.pop_all()

    def append(self, rows: pa.Table) -> int:
        """Store rows of SCHEMA; an episode that is there already is left as it is. Returns how many are new."""
        if self._log.closed:
            raise SinkFault(f"cannot write trajectories to {self._folder}: an earlier write failed")
        fresh = self._fresh(rows)
        try:
            self._log.write(pack(fresh))
            self._log.flush()
            os.fsync(self._log.fileno())
        except OSError as error:
            self._give_up()
            raise SinkFault(f"cannot write trajectories to {self._folder}: {error}") from error
        self._pending.append(fresh)
        if os.fstat(self._log.fileno()).st_size >= ROLL_BYTES:
            self.roll()
        return len(fresh)

    def roll(self) -> None:
        """Turn what is logged into a Parquet file, then empty the log."""
        if not any(map(len, self._pending)) or self._log.closed:
            return
        rows = pa.concat_tables(self._pending).sort_by("episode_id")
        final = self._folder / f"{self._name}-{rows['episode_id'][0]}.parquet"
        partial = final.with_suffix(".tmp")
        try:
            pq.write_table(rows, partial, compression="zstd")
            _sync(partial)
            partial.rename(final)
            _sync(self._folder)
            if self._mirror is not None:
                self._mirror.put(self._run, final.relative_to(self._run).as_posix())
            self._log.truncate(0)
        except (OSError, pa.ArrowException) as error:
            partial.unlink(missing_ok=True)
            raise SinkFault(f"cannot write trajectories to {self._folder}: {error}") from error
        self._pending = []

    def close(self) -> None:
        """Turn what is logged into a Parquet file, and remove the log."""
        self.roll()
        self._log_path.unlink(missing_ok=True)  # two nodes that share a disk may both recover it
        self._log.close()

    def _give_up(self) -> None:
        """Write nothing more: what came after a torn parcel could not be read. `recover` stores what is whole."""
        with contextlib.suppress(OSError):
            self._log.close()

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self._name}.log"

    def _sweep(self) -> None:
        """Remove what a sink of this name left unfinished when it died."""
        for leftover in self._folder.glob(f"{self._name}-*.tmp"):
            leftover.unlink()

    def _fresh(self, table: pa.Table) -> pa.Table:
        """The rows of episodes that were never stored; from now on they are."""
        new = []
        for episode_id in table["episode_id"].to_pylist():
            new.append(episode_id not in self._stored)
            self._stored.add(episode_id)
        return table if all(new) else table.filter(pa.array(new))


def recover(run: Path, mirror: Mirror | None = None, names: str = "*") -> None:
    """Store what the sinks of such names had logged when they ended, and sweep up after them.

    Waits for one that is still ending. The mirror then has each of their files. Raises SinkFault.
    """
    folder = run / TRAJECTORIES
    for log in sorted(folder.glob(f"{names}.log")):
        Sink(run, log.stem, mirror).close()
    for leftover in folder.glob(f"{names}.tmp"):
        leftover.unlink(missing_ok=True)
    if mirror is not None:
        mirror.add(run, f"{TRAJECTORIES}/{names}.parquet")


def stored_episodes(folder: Path, names: str = "*.parquet") -> Iterator[str]:
    """The ids of all episodes in the Parquet files of a folder, or in those of such names."""
    for path in sorted(folder.glob(names)):
        yield from pq.read_table(path, columns=["episode_id"]).column("episode_id").to_pylist()


def _lock(log: BinaryIO) -> None:
    """Be the only writer of a log; the system takes the lock from one that dies. Raises OSError."""
    tries = Retrying(
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_fixed(0.05),
        retry=retry_if_exception_type(BlockingIOError),
        reraise=True,
    )
    try:
        tries(fcntl.flock, log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        told = "another run still writes, or a node that is cut off: run again with --resume when it has ended"
        raise SinkFault(f"{log.name}: {told}") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
