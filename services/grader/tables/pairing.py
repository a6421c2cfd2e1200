"""Rows paired one to one: equal in their exact columns and with floats within the tolerance.

Groups of rows with the same exact columns are paired in sorted order, which finds the most pairs for one float column;
where it may have missed some, with several, a maximum matching decides. A pairing is never found that is not there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from services.grader.tables.collect import Shape
from services.grader.tables.kernels import measure_drift, merge, pair_groups
from services.grader.tables.siphash import Words

MATCHED_PAIRS = 1_000_000
"""A group with more possible pairs than this is paired in sorted order only: stricter, never laxer."""
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tolerance:
    """|a-b| <= atol + rtol * max(|a|, |b|), atol being in each column's own units."""

    atol: Floats
    rtol: float

    def close(self, a: Floats, b: Floats) -> Flags:
        """Which rows of `a` (rows, 1, columns) agree with which of `b` (1, rows, columns)."""
        with np.errstate(over="ignore"):
            allowed = self.atol + self.rtol * np.maximum(np.abs(a), np.abs(b))
            return np.asarray(((a == b) | (np.abs(a - b) <= allowed)).all(axis=-1))


@dataclass(frozen=True)
class Unpaired:
    """Places of rows without an equal partner: with a partner by key (as pairs), and without any."""

    changed: Indices
    missing: Indices
    extra: Indices


def pair(left: Words, right: Words, shape: Shape, tolerance: Tolerance, drift: Floats) -> Unpaired:
    """Pair the records of one part, take the pairs' drift in, and say what is left."""
    left, right = _ordered(left, shape), _ordered(right, shape)
    partner = np.full(len(left), -1, dtype=np.int64)
    groups = np.empty((min(len(left), len(right)), 4), dtype=np.int64)
    groups = groups[: merge(left[:, :2], right[:, :2], groups)]
    ours, theirs = _floats(left, shape), _floats(right, shape)
    short = np.zeros(len(groups), dtype=np.bool_)
    pair_groups(ours, theirs, groups, tolerance.atol, tolerance.rtol, partner, short)
    for group in groups[short]:
        _rematch(ours, theirs, group, tolerance, partner)
    measure_drift(ours, theirs, partner, drift)
    taken = np.zeros(len(right), dtype=np.bool_)
    taken[partner[partner >= 0]] = True
    return _by_key(left[partner < 0], right[~taken], shape)


def _floats(records: Words, shape: Shape) -> Floats:
    return np.ascontiguousarray(records[:, shape.floats :]).view(np.float64)


def _ordered(records: Words, shape: Shape) -> Words:
    """Records sorted by E, and those with the same E by their floats."""
    records = records[np.argsort(records[:, 0])]
    same = records[1:, 0] == records[:-1, 0]
    several = np.zeros(len(records), dtype=np.bool_)
    several[1:] |= same
    several[:-1] |= same
    if several.any():
        rows = records[several]
        values = _floats(rows, shape)
        keys = [values[:, column] for column in reversed(range(values.shape[1]))]
        records[several] = rows[np.lexsort([*keys, rows[:, 1], rows[:, 0]])]
    return records


def _rematch(ours: Floats, theirs: Floats, group: Indices, tolerance: Tolerance, partner: Indices) -> None:
    """Replace a group's pairs by a maximum matching."""
    a, b = ours[group[0] : group[1]], theirs[group[2] : group[3]]
    if len(a) * len(b) > MATCHED_PAIRS:
        return
    edges = tolerance.close(a[:, None], b[None])
    matched = maximum_bipartite_matching(csr_array(edges), perm_type="column")
    partner[group[0] : group[1]] = np.where(matched >= 0, matched + group[2], -1)


def _by_key(left: Words, right: Words, shape: Shape) -> Unpaired:
    """Pair what is left by K alone."""
    key = slice(shape.key, shape.key + 2)
    left, right = (
        side[np.lexsort((side[:, shape.place], side[:, key][:, 1], side[:, key][:, 0]))] for side in (left, right)
    )
    groups = np.empty((min(len(left), len(right)), 4), dtype=np.int64)
    groups = groups[: merge(np.ascontiguousarray(left[:, key]), np.ascontiguousarray(right[:, key]), groups)]
    sizes = np.minimum(groups[:, 1] - groups[:, 0], groups[:, 3] - groups[:, 2])
    steps = np.arange(sizes.sum(), dtype=np.int64) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    ours, theirs = np.repeat(groups[:, 0], sizes) + steps, np.repeat(groups[:, 2], sizes) + steps
    places = [side[:, shape.place].astype(np.int64) for side in (left, right)]
    pairs = np.stack([places[0][ours], places[1][theirs]], axis=1)
    return Unpaired(pairs, np.delete(places[0], ours), np.delete(places[1], theirs))
