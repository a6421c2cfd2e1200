"""The kernels against the published function, and the encoding of rows against what it promises."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.errors import BadInput
from services.grader.tables.encoding import absorb_columns
from services.grader.tables.kernels import classify
from services.grader.tables.scan import digest_pair, half_digests
from services.grader.tables.schema import type_name
from services.grader.tables.siphash import SHORT, absorb, absorb_bytes, start

MASK = (1 << 64) - 1
KEY = (int.from_bytes(bytes(range(8)), "little"), int.from_bytes(bytes(range(8, 16)), "little"))


def rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & MASK


def siphash(message: bytes, key: tuple[int, int]) -> bytes:
    """SipHash-2-4 with 16 bytes of output, written from the paper."""
    v = [
        0x736F6D6570736575 ^ key[0],
        0x646F72616E646F6D ^ key[1],
        0x6C7967656E657261 ^ key[0],
        0x7465646279746573 ^ key[1],
    ]
    v[1] ^= 0xEE

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, c, d, e, f in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = rotated(v[b], e) ^ v[a]
                v[a] = rotated(v[a], 32)
                v[c] = (v[c] + v[d]) & MASK
                v[d] = rotated(v[d], f) ^ v[c]

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return first.to_bytes(8, "little") + (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def test_the_plain_function_gives_the_published_digest() -> None:
    assert siphash(b"", KEY).hex() == "a3817f04ba25a8e66df67214c7550293"
    assert siphash(b"\0", KEY).hex() == "da87c1d86b99af44347659119b22fc45"


def digests_of(state: Any) -> list[bytes]:
    first, second = digest_pair(state)
    assert half_digests(state)[0].tolist() == first.tolist()
    return [a.tobytes() + b.tobytes() for a, b in zip(first, second, strict=True)]


def encoded(text: bytes) -> bytes:
    """A string as the kernel's message has it."""
    rest = text[4:]
    return len(text).to_bytes(4, "little") + text[:4].ljust(4, b"\0") + rest + bytes(-len(rest) % 8)


TEXTS = st.lists(st.one_of(st.binary(max_size=30), st.binary(min_size=SHORT - 3, max_size=SHORT + 20)), min_size=1)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, words=st.lists(st.integers(0, MASK), max_size=3), before=st.binary(max_size=9))
def test_kernels_give_siphash_of_the_message(texts: list[bytes], words: list[int], before: bytes) -> None:
    lengths = np.array([len(text) for text in texts])
    data = np.frombuffer(before + b"".join(texts) or b"\0", dtype=np.uint8)
    state = start(KEY, len(texts))
    absorb(state, np.array([[word] * len(texts) for word in words], dtype=np.uint64).reshape(-1, len(texts)))
    absorb_bytes(state, len(before) + np.cumsum(lengths) - lengths, lengths, data)
    head = b"".join(word.to_bytes(8, "little") for word in words)
    assert digests_of(state) == [siphash(head + encoded(text), KEY) for text in texts]


def test_many_rows_are_hashed_block_by_block() -> None:
    words = np.arange(3000, dtype=np.uint64).reshape(2, 1500)
    state = start(KEY, 1500)
    absorb(state, words)
    column = [siphash(words[:, row].tobytes(), KEY) for row in range(0, 1500, 37)]
    assert digests_of(state)[::37] == column


def row_digests(*columns: pa.Array) -> list[bytes]:
    state = start(KEY, len(columns[0]))
    absorb_columns(state, columns, (1, 2))
    return digests_of(state)


PACKINGS = [
    (pa.array(["a", None, "bcd" * 30, ""]), ["large_string", "string_view", "dictionary"]),
    (pa.array([b"a", None, b"\0", b""]), ["large_binary", "binary_view"]),
    (pa.array([Decimal("1.5"), None, Decimal("-2.5"), Decimal("0")], pa.decimal128(5, 1)), ["decimal32", "decimal256"]),
    (pa.array([[1, None], None, [], [3]]), ["large_list"]),
]
TYPES = {
    "large_string": pa.large_string(), "string_view": pa.string_view(), "large_binary": pa.large_binary(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()), "binary_view": pa.binary_view(),
    "decimal32": pa.decimal32(5, 1), "decimal256": pa.decimal256(5, 1),
    "large_list": pa.large_list(pa.int64()),
}  # fmt: skip


@pytest.mark.parametrize(("column", "packing"), [(c, p) for c, packings in PACKINGS for p in packings])
def test_packing_is_no_part_of_a_value(column: pa.Array, packing: str) -> None:
    packed = column.dictionary_encode() if packing == "dictionary" else column.cast(TYPES[packing])
    assert type_name(packed.type) == type_name(column.type)
    assert row_digests(packed) == row_digests(column)


NESTED = pa.array(
    [[{"a": 1, "b": [("k", 1.0)]}], None, [], [None, {"a": None, "b": None}], [{"a": 1, "b": []}]],
    pa.list_(pa.struct([("a", pa.int8()), ("b", pa.map_(pa.string(), pa.float64()))])),
)
FLAT = [
    pa.array([True, None, False, True, False]),
    pa.array([1.5, None, -0.0, math.nan, math.inf], pa.float16()),
    pa.array([[1, 2], None, [3, 4], [5, 6], [7, None]], pa.list_(pa.int32(), 2)),
    pa.array([b"abc", None, b"def", b"ghi", b"abc"], pa.binary(3)),
    pa.array(["x", None, "y", "x", ""]).dictionary_encode(),
    pa.nulls(5),
]


@pytest.mark.parametrize("column", [NESTED, *FLAT], ids=lambda column: str(column.type))
def test_a_slice_has_the_digests_of_its_rows(column: pa.Array) -> None:
    whole = row_digests(column)
    for low in range(5):
        for high in range(low + 1, 6):
            assert row_digests(column.slice(low, high - low)) == whole[low:high]
    assert row_digests(pa.concat_arrays([column.slice(3), column.slice(0, 3)])) == whole[3:] + whole[:3]


def test_what_stands_behind_a_null_is_not_seen() -> None:
    hidden = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([5, 77]).tobytes())])
    assert hidden.to_pylist() == [5, None]
    assert row_digests(hidden) == row_digests(pa.array([5, None], pa.int64()))


def test_many_columns_keep_their_nulls_apart() -> None:
    columns = [pa.array([None if row == column else 0 for row in range(70)], pa.int8()) for column in range(70)]
    assert len(set(row_digests(*columns))) == 70


@pytest.mark.parametrize("value", [1.0, 1.5, 2.0, -3.0, 5e-324, 2.2250738585072014e-308, 1e-310, 1.7e308])
def test_the_exponent_of_a_double_is_that_of_math(value: float) -> None:
    exponents = np.zeros(2, dtype=np.int64)
    out, classes = np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64)
    classify(np.array([value]), np.ones(1, dtype=np.bool_), False, 0, out, classes, exponents)
    assert exponents.tolist() == [math.frexp(value)[1] - 1, 1]


def test_types_nested_too_deep_are_refused() -> None:
    deep = pa.int8()
    for _ in range(40):
        deep = pa.list_(deep)
    with pytest.raises(BadInput, match="deeper than"):
        type_name(deep)
