"""Arrow columns as the words of a row's message: typed, one-to-one, and free of how the values were packed.

A row's message is, for each group of its columns: a bit a column for NULL (as many words as that takes), the words of
the columns of fixed width, then each string with its length ahead of it. Types are equal on both sides by the gate, so
equal messages mean equal rows and no message is the beginning of another. -0.0 is 0.0, all NaNs are one, a NULL's value
is 0. A nested value is taken in as the 16-byte digests of its parts, under a key of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from services.contracts.errors import BadInput
from services.grader.tables.siphash import Key, Words, absorb, absorb_bytes, digest, start

MASK_BITS = 64
MAX_BYTES = 1 << 32
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Strings:
    """Byte strings inside one buffer."""

    starts: Integers
    lengths: Integers
    data: npt.NDArray[np.uint8]


Content = list[npt.NDArray[Any]] | Strings
"""Unsigned numbers, one array a word of the row, with anything at all behind a NULL; or strings."""


def absorb_columns(state: Words, columns: Sequence[pa.Array], nested: Key, extra: Sequence[Words] = ()) -> None:
    """Take one group of columns into the state of its rows, of which there are some; `extra` words come first."""
    rows = state.shape[1]
    columns = [_plain(column) for column in columns]
    valid = [validity(column) for column in columns]
    contents = [_content(column, flags, nested) for column, flags in zip(columns, valid, strict=True)]
    words = [*extra, *_null_words(valid, rows)]
    fixed = [(part, flags) for c, flags in zip(contents, valid, strict=True) if isinstance(c, list) for part in c]
    block = np.empty((len(words) + len(fixed), rows), dtype=np.uint64)
    for place, word in enumerate(words):
        block[place] = word
    for place, (part, flags) in enumerate(fixed, len(words)):
        block[place] = part
        if flags is not None:
            block[place] *= flags
    absorb(state, block)
    for content in contents:
        if isinstance(content, Strings):
            absorb_bytes(state, content.starts, content.lengths, content.data)


def validity(column: pa.Array) -> Flags | None:
    """Which values are there; None if all are."""
    if pt.is_null(column.type):
        return np.zeros(len(column), dtype=np.bool_)
    if column.null_count == 0:
        return None
    return _bits(column.buffers()[0], column.offset, len(column))


def _bits(buffer: Any, offset: int, length: int) -> Flags:
    data = np.frombuffer(buffer, dtype=np.uint8)
    low = offset // 8
    bits = np.unpackbits(data[low : (offset + length + 7) // 8], bitorder="little")
    return bits[offset - 8 * low : offset - 8 * low + length].view(np.bool_)


def _null_words(valid: Sequence[Flags | None], rows: int) -> list[Words]:
    words = []
    for low in range(0, len(valid), MASK_BITS):
        word = np.zeros(rows, dtype=np.uint64)
        for place, flags in enumerate(valid[low : low + MASK_BITS]):
            if flags is not None:
                word |= (~flags).astype(np.uint64) << np.uint64(place)
        words.append(word)
    return words


def _plain(column: pa.Array) -> pa.Array:
    """The column in the one layout that its type name has here."""
    if isinstance(column.type, pa.BaseExtensionType):
        return _plain(column.storage)
    kind = column.type
    if pt.is_dictionary(kind) and not _is_read_through(kind, column):
        return _plain(column.dictionary_decode())
    if pt.is_decimal(kind) and not pt.is_decimal128(kind) and kind.precision <= 38:
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    if pt.is_string_view(kind) or pt.is_binary_view(kind):
        return column.cast(pa.large_string() if pt.is_string_view(kind) else pa.large_binary())
    return column


def _is_read_through(kind: Any, column: pa.Array) -> bool:
    """Whether strings are looked up in the dictionary where they are needed, which saves writing them out."""
    return bool(pt.is_string(kind.value_type) and pt.is_int32(kind.index_type) and not column.dictionary.null_count)


def _content(column: pa.Array, valid: Flags | None, nested: Key) -> Content:
    kind = column.type
    if pt.is_null(kind):
        return []
    if pt.is_dictionary(kind):
        return _looked_up(column, valid)
    if pt.is_string(kind) or pt.is_binary(kind):
        return _strings(column, valid, np.dtype(np.int32))
    if pt.is_large_string(kind) or pt.is_large_binary(kind):
        return _strings(column, valid, np.dtype(np.int64))
    if pt.is_struct(kind):
        parts = list(column.flatten()) if kind.num_fields else []
        return list(_digests(parts, len(column), nested))
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_map(kind):
        return _list(column, valid, nested)
    if pt.is_fixed_size_list(kind):
        return _fixed_list(column, valid, nested)
    return _fixed(column)


def _looked_up(column: pa.Array, valid: Flags | None) -> Strings:
    values = _strings(column.dictionary, None, np.dtype(np.int32))
    index = np.frombuffer(column.buffers()[1], np.int32, len(column), 4 * column.offset)
    if valid is not None:
        index = np.where(valid, index, 0)
    if not len(values.starts):
        values = Strings(np.zeros(1, np.int64), np.zeros(1, np.int64), values.data)
    return _ranges(values.starts.take(index), values.lengths.take(index), valid, values.data)


def _strings(column: pa.Array, valid: Flags | None, dtype: np.dtype[Any]) -> Strings:
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, dtype, len(column) + 1, column.offset * dtype.itemsize).astype(np.int64)
    if data is None or data.size == 0:
        data = b"\0"
    return _ranges(places[:-1], places[1:] - places[:-1], valid, np.frombuffer(data, dtype=np.uint8))


def _ranges(starts: Integers, lengths: Integers, valid: Flags | None, data: npt.NDArray[np.uint8]) -> Strings:
    if valid is not None:
        lengths = lengths * valid
    if len(lengths) and int(lengths.max()) >= MAX_BYTES:
        raise BadInput("a value of 4 GB or more cannot be compared")
    return Strings(starts, lengths, data)


def _list(column: pa.Array, valid: Flags | None, nested: Key) -> Strings:
    places = np.asarray(column.offsets.to_numpy(zero_copy_only=False), dtype=np.int64)
    low, high = (int(places[0]), int(places[-1])) if len(places) else (0, 0)
    parts = [column.keys, column.items] if pt.is_map(column.type) else [column.values]
    data = _digest_bytes([part.slice(low, high - low) for part in parts], high - low, nested)
    return _ranges(16 * (places[:-1] - low), 16 * (places[1:] - places[:-1]), valid, data)


def _fixed_list(column: pa.Array, valid: Flags | None, nested: Key) -> Strings:
    size, rows = column.type.list_size, len(column)
    data = _digest_bytes([column.values.slice(column.offset * size, rows * size)], rows * size, nested)
    starts = np.arange(rows, dtype=np.int64) * (16 * size)
    return _ranges(starts, np.full(rows, 16 * size, dtype=np.int64), valid, data)


def _digest_bytes(parts: Sequence[pa.Array], rows: int, nested: Key) -> npt.NDArray[np.uint8]:
    halves = _digests(parts, rows, nested)
    data = np.ascontiguousarray(np.stack(halves, axis=1)).view(np.uint8).reshape(-1)
    return data if rows else np.zeros(1, dtype=np.uint8)


def _digests(parts: Sequence[pa.Array], rows: int, nested: Key) -> tuple[Words, Words]:
    """The two halves of the digest of each row of the parts."""
    halves = np.empty(rows, dtype=np.uint64), np.empty(rows, dtype=np.uint64)
    if rows:
        state = start(nested, rows)
        absorb_columns(state, parts, nested)
        digest(state, *halves)
    return halves


def _fixed(column: pa.Array) -> list[npt.NDArray[Any]]:
    kind, rows = column.type, len(column)
    if pt.is_boolean(kind):
        return [_bits(column.buffers()[1], column.offset, rows)]
    if pt.is_floating(kind):
        return [float_words(floats(column))]
    width = kind.byte_width if pt.is_fixed_size_binary(kind) else kind.bit_width // 8
    if not width:
        return []
    raw = np.frombuffer(column.buffers()[1], np.uint8, rows * width, column.offset * width).reshape(rows, width)
    if width in (1, 2, 4):
        return [raw.reshape(-1).view(f"u{width}")]
    if width % 8:
        raw = np.pad(raw, ((0, 0), (0, -width % 8)))
    table = np.ascontiguousarray(raw).reshape(-1).view(np.uint64).reshape(rows, -1)
    return [table[:, place] for place in range(table.shape[1])]


def floats(column: pa.Array) -> npt.NDArray[np.float64]:
    """The values of a HALF, FLOAT or DOUBLE column as doubles; whatever stands there for a NULL."""
    dtype: np.dtype[Any] = np.dtype(f"f{column.type.bit_width // 8}")
    raw = np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)
    return raw.astype(np.float64, copy=False)


def float_words(values: npt.NDArray[np.float64]) -> Words:
    """The bits of doubles, of which equal ones have equal bits."""
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
