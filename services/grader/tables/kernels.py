"""Loops over rows that numpy has no word for. They release the GIL and are compiled once a machine."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

U = np.uint64
FINITE, NULL, NAN, PLUS, MINUS = range(5)
if TYPE_CHECKING:

    def _kernel(function: Any) -> Any: ...

else:
    _kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def add_to_buckets(sums: Any, chosen_by: Any, bits: Any, first: Any, second: Any) -> None:
    """Add both halves of each row's digest to the bucket that the top bits of `chosen_by` name."""
    shift = U(64 - bits)
    for i in range(first.shape[0]):
        bucket = np.int64(chosen_by[i] >> shift)
        sums[bucket, 0] += first[i]
        sums[bucket, 1] += second[i]


@_kernel
def _exponent(value: Any) -> Any:
    """The e of 2^e <= |value| < 2^(e+1), of a denormal number too."""
    biased = np.int64((np.float64(value).view(np.uint64) >> U(52)) & U(0x7FF))
    if biased == 0:
        return np.int64((np.float64(value * 2.0**54).view(np.uint64) >> U(52)) & U(0x7FF)) - 1077
    return biased - 1023


@_kernel
def classify(values: Any, valid: Any, nullable: Any, shift: Any, out: Any, classes: Any, exponents: Any) -> None:
    """Write finite doubles as bits (-0.0 as 0.0, others as 0) and their class into 3 bits of a word a row.

    Add to `exponents` the sum of the binary exponents of the values that are finite and not 0, and their number.
    """
    total, count = 0, 0
    for i in range(values.shape[0]):
        value = values[i]
        bits = U(0)
        kind = FINITE
        if nullable and not valid[i]:
            kind = NULL
        elif value != value:
            kind = NAN
        elif value == np.inf:
            kind = PLUS
        elif value == -np.inf:
            kind = MINUS
        elif value != 0.0:
            bits = np.float64(value).view(np.uint64)
            total += _exponent(value)
            count += 1
        out[i] = bits
        classes[i] |= U(kind) << U(shift)
    exponents[0] += total
    exponents[1] += count


@_kernel
def _close(a: Any, i: Any, b: Any, j: Any, atol: Any, rtol: Any) -> Any:
    for c in range(atol.shape[0]):
        x, y = a[i, c], b[j, c]
        if x != y and not abs(x - y) <= atol[c] + rtol * max(abs(x), abs(y)):
            return False
    return True


@_kernel
def _before(a: Any, i: Any, b: Any, j: Any) -> Any:
    for c in range(a.shape[1]):
        if a[i, c] != b[j, c]:
            return a[i, c] < b[j, c]
    return False


@_kernel
def merge(a: Any, b: Any, groups: Any) -> Any:
    """The runs of equal first and second words that both sorted tables have, as rows of `groups`; their number."""
    i, j, found = 0, 0, 0
    while i < a.shape[0] and j < b.shape[0]:
        if a[i, 0] != b[j, 0] or a[i, 1] != b[j, 1]:
            if a[i, 0] < b[j, 0] or (a[i, 0] == b[j, 0] and a[i, 1] < b[j, 1]):
                i += 1
            else:
                j += 1
            continue
        low, high = i, j
        while i < a.shape[0] and a[i, 0] == a[low, 0] and a[i, 1] == a[low, 1]:
            i += 1
        while j < b.shape[0] and b[j, 0] == b[high, 0] and b[j, 1] == b[high, 1]:
            j += 1
        groups[found, 0], groups[found, 1], groups[found, 2], groups[found, 3] = low, i, high, j
        found += 1
    return found


@_kernel
def _pair_one(a: Any, b: Any, group: Any, atol: Any, rtol: Any, partner: Any) -> Any:
    for i in range(group[0], group[1]):
        for j in range(group[2], group[3]):
            if _close(a, i, b, j, atol, rtol):
                partner[i] = j
                return 1
    return 0


@_kernel
def _pair_sorted(a: Any, b: Any, group: Any, atol: Any, rtol: Any, partner: Any) -> Any:
    i, j, found = group[0], group[2], 0
    while i < group[1] and j < group[3]:
        if _close(a, i, b, j, atol, rtol):
            partner[i] = j
            i, j, found = i + 1, j + 1, found + 1
        elif _before(a, i, b, j):
            i += 1
        else:
            j += 1
    return found


@_kernel
def pair_groups(a: Any, b: Any, groups: Any, atol: Any, rtol: Any, partner: Any, short: Any) -> None:
    """Pair the rows of each group in sorted order; mark the groups where another pairing might find more pairs."""
    for g in range(groups.shape[0]):
        group = groups[g]
        most = min(group[1] - group[0], group[3] - group[2])
        if most == 1:
            _pair_one(a, b, group, atol, rtol, partner)
        else:
            found = _pair_sorted(a, b, group, atol, rtol, partner)
            short[g] = found < most and atol.shape[0] > 1


@_kernel
def measure_drift(a: Any, b: Any, partner: Any, drift: Any) -> None:
    """Take the pairs into (worst absolute, worst relative, rows that differ), one row of `drift` a column."""
    for i in range(partner.shape[0]):
        j = partner[i]
        if j < 0:
            continue
        for c in range(drift.shape[0]):
            x, y = a[i, c], b[j, c]
            if x != y:
                gap = abs(x - y)
                drift[c, 0] = max(drift[c, 0], gap)
                drift[c, 1] = max(drift[c, 1], gap / max(abs(x), abs(y)))
                drift[c, 2] += 1
