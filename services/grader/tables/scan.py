"""One reading of one side: sums of keyed digests in buckets, by which two sides are shown equal or their rows narrowed.

A row's message has three parts: its key columns, its other exact columns with the class (finite, NULL, NaN, infinity)
of each tolerant float, and the finite floats. Its digest F covers all; E covers the first two parts, K the first.

Soundness of "identical": both sides are fixed before the key is drawn, so the bags are chosen without knowledge of F.
Let two different bags be given and let x be a row whose multiplicities differ by d != 0. Were F a random function, the
two sums of F modulo 2^64 would agree with probability at most (2^v / 2^64)^2, 2^v being the largest power of two that
divides d: at most 2^-78 for 2^25 rows. (MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh, "Incremental
multiset hash functions", ASIACRYPT 2003, there against authors who may even ask for hashes.) SipHash-2-4 adds to this
the advantage of telling it from a random function without asking it anything; no attack on that is known short of
guessing its 128-bit key. The same holds for each bucket: it is chosen by K or E, the digest of another message.

Two rows are taken to agree in their exact columns if both halves of E agree: n rows have n^2 / 2^129 chances to do so
wrongly. Unequal sums are never a matter of chance: equal bags always have equal sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from services.grader.tables.encoding import absorb_columns, floats, validity
from services.grader.tables.kernels import add_to_buckets, classify
from services.grader.tables.siphash import Key, Words, absorb, digest, draw_key, half_digest, start
from services.grader.tables.source import Source

BUCKET_BITS = 18
CLASS_BITS = 3
CLASSES_A_WORD = 21
OnRows = Callable[[int], None]


@dataclass(frozen=True)
class Layout:
    """Which columns go where, and the secret keys of one comparison."""

    key: tuple[str, ...]
    exact: tuple[str, ...]
    tolerant: tuple[str, ...]
    row_secret: Key = field(default_factory=draw_key, repr=False)
    nested_secret: Key = field(default_factory=draw_key, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of the parts."""
        return self.key + self.exact + self.tolerant


@dataclass
class Sketch:
    """What one reading leaves behind, whatever the number of rows."""

    sums: Words
    exponents: npt.NDArray[np.int64]
    rows: int = 0
    exact_sum: int = 0


@dataclass(frozen=True)
class Digests:
    """The digests of a batch; `key` is that of all exact columns if there is no key. `floats` has a row a column."""

    key: tuple[Words, Words]
    exact: tuple[Words, Words]
    floats: Words
    state: Words


def sketch_of(layout: Layout, buckets: int) -> Sketch:
    """The sketch of no rows."""
    exponents = np.zeros((len(layout.tolerant), 2), dtype=np.int64)
    return Sketch(np.zeros((buckets, 2), dtype=np.uint64), exponents)


def sketch(source: Source, layout: Layout, on_rows: OnRows) -> Sketch:
    """Read a side once."""
    found = sketch_of(layout, 1 << BUCKET_BITS)
    for batch in source.batches(layout.names):
        rows = digests(batch, layout, found.exponents, half_digests)
        whole = digest_pair(rows.state)
        add_to_buckets(found.sums, rows.key[0], BUCKET_BITS, *whole)
        found.exact_sum = (found.exact_sum + int(rows.exact[0].sum(dtype=np.uint64))) % (1 << 64)
        found.rows += batch.num_rows
        on_rows(batch.num_rows)
    return found


def digest_pair(state: Words) -> tuple[Words, Words]:
    """Both halves of the digests of the rows so far."""
    halves = np.empty(state.shape[1], dtype=np.uint64), np.empty(state.shape[1], dtype=np.uint64)
    digest(state, *halves)
    return halves


def half_digests(state: Words) -> tuple[Words, Words]:
    """The first halves, and nothing for the second ones, where these are not needed."""
    first = np.empty(state.shape[1], dtype=np.uint64)
    half_digest(state, first)
    return first, first[:0]


def digests(
    batch: pa.RecordBatch,
    layout: Layout,
    exponents: npt.NDArray[np.int64],
    finish: Callable[[Words], tuple[Words, Words]],
) -> Digests:
    """The digests of a batch. `exponents` gathers the sum of each column's binary exponents and their count."""
    columns = batch.columns
    keys, last = len(layout.key), len(layout.key) + len(layout.exact)
    state = start(layout.row_secret, batch.num_rows)
    key = None
    if keys:
        absorb_columns(state, columns[:keys], layout.nested_secret)
        key = finish(state)
    values, classes = _float_parts(columns[last:], batch.num_rows, exponents)
    absorb_columns(state, columns[keys:last], layout.nested_secret, classes)
    exact = finish(state)
    absorb(state, values)
    return Digests(key or exact, exact, values, state)


def _float_parts(columns: Sequence[pa.Array], rows: int, exponents: npt.NDArray[np.int64]) -> tuple[Words, list[Words]]:
    """The bits of the finite floats, 0 for the others; and the words that hold the class of each."""
    values = np.empty((len(columns), rows), dtype=np.uint64)
    classes = np.zeros((-(-len(columns) // CLASSES_A_WORD), rows), dtype=np.uint64)
    always = np.ones(1, dtype=np.bool_)
    for place, column in enumerate(columns):
        flags = validity(column)
        word, shift = classes[place // CLASSES_A_WORD], CLASS_BITS * (place % CLASSES_A_WORD)
        valid = always if flags is None else flags
        classify(floats(column), valid, flags is not None, shift, values[place], word, exponents[place])
    return values, list(classes)


def bad_buckets(left: Sketch, right: Sketch) -> npt.NDArray[np.bool_]:
    """The buckets whose sums differ."""
    different: npt.NDArray[np.bool_] = (left.sums != right.sums).any(axis=1)
    return different
