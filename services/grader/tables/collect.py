"""The rows of the buckets that differ, as short records of digests and floats, on disk once they are many.

A record is 64-bit words: both halves of E, both of K if there is a key, the row's place in its table, the floats.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt

from services.contracts.errors import Infrastructure
from services.grader.tables.kernels import U
from services.grader.tables.scan import BUCKET_BITS, Layout, OnRows, Sketch, digest_pair, digests, sketch_of
from services.grader.tables.siphash import Words
from services.grader.tables.source import Source

PART_BYTES = 16 << 20
MAX_PARTS = 256
BUFFER_BYTES = 1 << 16


class Shape:
    """Where things stand in a record."""

    def __init__(self, layout: Layout) -> None:
        self.key = 2 if layout.key else 0
        self.place = self.key + 2
        self.floats = self.place + 1
        self.width = self.floats + len(layout.tolerant)


class Parts:
    """The records of one side, in parts by digest: rows that may be paired are in parts of the same number."""

    def __init__(self, shape: Shape, rows: int) -> None:
        need = rows * shape.width * 8
        count = 1
        while count < MAX_PARTS and count * PART_BYTES < need:
            count *= 2
        self._shape = shape
        self._memory: list[Words] = []
        self._open = ExitStack()
        self._files: list[IO[bytes]] = []
        if count > 1:
            self._files = [self._open.enter_context(_scratch_file()) for _ in range(count)]

    def __enter__(self) -> "Parts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __len__(self) -> int:
        return max(1, len(self._files))

    def add(self, records: Words) -> None:
        """Keep records. Raises Infrastructure if the disk is full."""
        if not self._files:
            self._memory.append(records)
            return
        part = (records[:, self._shape.key] & U(len(self._files) - 1)).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        ends = np.cumsum(np.bincount(part, minlength=len(self._files)))[:-1]
        try:
            for file, rows in zip(self._files, np.split(records[order], ends), strict=True):
                file.write(rows.tobytes())
        except OSError as error:
            raise Infrastructure(f"no room for a comparison's records: {error}") from error

    def __iter__(self) -> Iterator[Words]:
        """One part after another, each let go of before the next is read."""
        if not self._files:
            empty = np.empty((0, self._shape.width), dtype=np.uint64)
            yield np.concatenate([empty, *self._memory])
        for file in self._files:
            file.seek(0)
            yield np.frombuffer(file.read(), dtype=np.uint64).reshape(-1, self._shape.width)


def _scratch_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(buffering=BUFFER_BYTES)
    except OSError as error:
        raise Infrastructure(f"no room for a comparison's records: {error}") from error


def collect(source: Source, layout: Layout, bad: npt.NDArray[np.bool_] | None, parts: Parts, on_rows: OnRows) -> Sketch:
    """Read a side and keep the rows of its bad buckets, or all; what the reading leaves behind, without sums."""
    shape, found = Shape(layout), sketch_of(layout, 0)
    for batch in source.batches(layout.names):
        rows = digests(batch, layout, found.exponents, digest_pair)
        every = np.arange(batch.num_rows)
        kept = every if bad is None else np.flatnonzero(bad[rows.key[0] >> U(64 - BUCKET_BITS)])
        records = np.empty((len(kept), shape.width), dtype=np.uint64)
        for column, words in enumerate([*rows.exact, *(rows.key if layout.key else ())]):
            records[:, column] = words[kept]
        records[:, shape.place] = found.rows + kept
        for column, words in enumerate(rows.floats):
            records[:, shape.floats + column] = words[kept]
        parts.add(records)
        found.rows += batch.num_rows
        on_rows(batch.num_rows)
    return found
