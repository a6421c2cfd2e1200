"""SipHash-2-4 of many rows at once, each row a message of 8-byte words; equal to the published function on its bytes.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012); the 128-bit output is that of their reference
code. A state is a (5, rows) array: the four words of SipHash and the number of words taken in so far. All arithmetic is
modulo 2^64. The kernels release the GIL and are compiled once a machine.
"""

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic

Words = npt.NDArray[np.uint64]
Key = tuple[int, int]
BLOCK = 512
"""Rows whose state stays in the first-level cache while the words of a block are taken in."""
SHORT = 4 + 8 * 8
"""Bytes of a string that are taken in for a whole block of rows at once."""
U = np.uint64
_START = (0x736F6D6570736575, 0x646F72616E646F6D ^ 0xEE, 0x6C7967656E657261, 0x7465646279746573)
if TYPE_CHECKING:

    def _kernel(function: Any) -> Any: ...

    def _inlined(function: Any) -> Any: ...

    def _intrinsic(function: Any) -> Any: ...

else:
    _kernel = njit(nogil=True, cache=True, error_model="numpy")
    _inlined = njit(inline="always")
    _intrinsic = intrinsic


def draw_key() -> Key:
    """A secret 128-bit key. Draw it only after the author of the tables can change them no more."""
    return secrets.randbits(64), secrets.randbits(64)


def start(key: Key, rows: int) -> Words:
    """The state of so many empty messages."""
    state = np.empty((5, rows), dtype=np.uint64)
    for place, constant in enumerate(_START):
        state[place] = constant ^ key[place % 2]
    state[4] = 0
    return state


@_inlined
def _round(a: Any, b: Any, c: Any, d: Any) -> Any:
    a = a + b
    b = ((b << U(13)) | (b >> U(51))) ^ a
    a = (a << U(32)) | (a >> U(32))
    c = c + d
    d = ((d << U(16)) | (d >> U(48))) ^ c
    a = a + d
    d = ((d << U(21)) | (d >> U(43))) ^ a
    c = c + b
    b = ((b << U(17)) | (b >> U(47))) ^ c
    c = (c << U(32)) | (c >> U(32))
    return a, b, c, d


@_inlined
def _take(a: Any, b: Any, c: Any, d: Any, word: Any) -> Any:
    a, b, c, d = _round(a, b, c, d ^ word)
    a, b, c, d = _round(a, b, c, d)
    return a ^ word, b, c, d


@_kernel
def _take_column(v0: Any, v1: Any, v2: Any, v3: Any, words: Any) -> None:
    for i in range(words.shape[0]):
        v0[i], v1[i], v2[i], v3[i] = _take(v0[i], v1[i], v2[i], v3[i], words[i])


@_kernel
def absorb(state: Any, words: Any) -> None:
    """Take in a (columns, rows) array: one word of each column for every row."""
    columns, rows = words.shape
    for low in range(0, rows, BLOCK):
        high = min(low + BLOCK, rows)
        v0, v1, v2, v3 = state[0, low:high], state[1, low:high], state[2, low:high], state[3, low:high]
        for column in range(columns):
            _take_column(v0, v1, v2, v3, words[column, low:high])
    state[4] += U(columns)


@_intrinsic
def _load(typing: Any, address: Any) -> Any:
    """The 8 bytes at an address, which need not be a multiple of 8."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(types.uint64).as_pointer()
        return builder.load(builder.inttoptr(arguments[0], kind), align=1)

    return types.uint64(types.uintp), emit


@_inlined
def _read(data: Any, low: Any, count: Any) -> Any:
    """`count` of 0 to 8 bytes from `low` on as a little-endian word, with zeros above them."""
    if low + 8 <= data.shape[0]:
        word = _load(data.ctypes.data + low)
        return word if count >= 8 else word & ((U(1) << U(8 * count)) - U(1))
    word = U(0)
    for place in range(count):
        word |= U(data[low + place]) << U(8 * place)
    return word


@_kernel
def _gather(starts: Any, lengths: Any, data: Any, at: Any, words: Any, live: Any) -> None:
    for i in range(starts.shape[0]):
        count = min(lengths[i] - at, 8)
        live[i] = U(0xFFFFFFFFFFFFFFFF) if count > 0 else U(0)
        words[i] = _read(data, starts[i] + at, count) if count > 0 else U(0)


@_kernel
def _take_live(v0: Any, v1: Any, v2: Any, v3: Any, v4: Any, words: Any, live: Any) -> None:
    for i in range(words.shape[0]):
        a, b, c, d = _take(v0[i], v1[i], v2[i], v3[i], words[i])
        v0[i] ^= (v0[i] ^ a) & live[i]
        v1[i] ^= (v1[i] ^ b) & live[i]
        v2[i] ^= (v2[i] ^ c) & live[i]
        v3[i] ^= (v3[i] ^ d) & live[i]
        v4[i] += live[i] & U(1)


@_kernel
def _take_tail(state: Any, i: Any, low: Any, high: Any, data: Any) -> None:
    a, b, c, d = state[0, i], state[1, i], state[2, i], state[3, i]
    for at in range(low, high, 8):
        a, b, c, d = _take(a, b, c, d, _read(data, at, min(high - at, 8)))
    state[0, i], state[1, i], state[2, i], state[3, i] = a, b, c, d
    state[4, i] += U((high - low + 7) // 8)


@_kernel
def absorb_bytes(state: Any, starts: Any, lengths: Any, data: Any) -> None:
    """Take in a string a row: its length in the low 4 bytes of a word with its first 4 bytes above, then the rest."""
    words, live = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    for low in range(0, starts.shape[0], BLOCK):
        high = min(low + BLOCK, starts.shape[0])
        v0, v1, v2, v3 = state[0, low:high], state[1, low:high], state[2, low:high], state[3, low:high]
        longest = 0
        for i in range(low, high):
            longest = max(longest, lengths[i])
            words[i - low] = U(lengths[i]) | _read(data, starts[i], min(lengths[i], 4)) << U(32)
        _take_column(v0, v1, v2, v3, words[: high - low])
        state[4, low:high] += U(1)
        for at in range(4, min(longest, SHORT), 8):
            _gather(starts[low:high], lengths[low:high], data, at, words, live)
            _take_live(v0, v1, v2, v3, state[4, low:high], words[: high - low], live)
        if longest > SHORT:
            for i in range(low, high):
                if lengths[i] > SHORT:
                    _take_tail(state, i, starts[i] + SHORT, starts[i] + lengths[i], data)


@_kernel
def half_digest(state: Any, out: Any) -> None:
    """The first 8 bytes of each message's digest, the state being left as it is."""
    v0, v1, v2, v3, taken = state[0], state[1], state[2], state[3], state[4]
    for i in range(out.shape[0]):
        a, b, c, d = _take(v0[i], v1[i], v2[i], v3[i], taken[i] << U(59))
        a, b, c, d = _round(a, b, c ^ U(0xEE), d)
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        out[i] = a ^ b ^ c ^ d


@_kernel
def digest(state: Any, first: Any, second: Any) -> None:
    """Both halves of each message's 16-byte digest, the state being left as it is."""
    v0, v1, v2, v3, taken = state[0], state[1], state[2], state[3], state[4]
    for i in range(first.shape[0]):
        a, b, c, d = _take(v0[i], v1[i], v2[i], v3[i], taken[i] << U(59))
        a, b, c, d = _round(a, b, c ^ U(0xEE), d)
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        first[i] = a ^ b ^ c ^ d
        a, b, c, d = _round(a, b ^ U(0xDD), c, d)
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        a, b, c, d = _round(a, b, c, d)
        second[i] = a ^ b ^ c ^ d
