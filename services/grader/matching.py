"""Whether two sets or bags of rows are equal, floats within a relative tolerance and everything else exactly.

Columns are typed by the gold: a number column reads numbers, any other compares text (sqlenv-v1-spec §4.2). A float
column lets |a-b| <= tolerance * |gold| pass; rows are then matched one to one, never by rounding.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from services.contracts.cells import cell_number, cell_text, is_exact
from services.contracts.statements import Cell, Rows
from services.grader.reading import normal_text, read_number

Kind = Literal["integer", "float", "text"]
Value = Decimal | str | None
Floats = npt.NDArray[np.float64]
Exact = tuple[Value | bool, ...]
DENSE_ROWS = 2_000
"""Larger groups of rows are paired in sorted order instead of matched, which is stricter for several float columns."""
_NULLS = frozenset({"", "null", "none", "n/a"})


def column_kinds(rows: Rows) -> list[Kind]:
    """The kind of each column of the gold: a number column has numbers and NULLs only."""
    kinds: list[Kind] = []
    for cells in zip(*rows, strict=True):
        known = [cell for cell in cells if cell is not None]
        if known and all(cell_number(cell) is not None for cell in known):
            kinds.append("integer" if all(map(is_exact, known)) else "float")
        else:
            kinds.append("text")
    return kinds


def gold_value(cell: Cell, kind: Kind) -> Value:
    """A cell of the gold or of a query result in its column's domain. Text may hold a number."""
    if cell is None:
        return None
    if kind == "text":
        return _text(cell)
    number = read_number(cell) if isinstance(cell, str) else cell_number(cell)
    return number if number is not None else _text(cell)


def submitted_value(cell: Cell, kind: Kind) -> Value:
    """A submitted cell in its column's domain. Text may hold a number, or spell NULL."""
    if isinstance(cell, str) and kind != "text" and cell.strip().lower() in _NULLS:
        return None
    return gold_value(cell, kind)


def _text(cell: Cell) -> str | None:
    """Text as it is compared. The text NULL is NULL, as only JSON could tell them apart."""
    text = normal_text(cell_text(cell))
    return None if text == "null" else text


def close(value: Decimal, gold: Decimal, tolerance: float) -> bool:
    """Within the tolerance, relative to the gold."""
    return abs(float(value) - float(gold)) <= tolerance * abs(float(gold)) or value == gold


def equal_sets(values: Sequence[Value], golds: Sequence[Value], kind: Kind, tolerance: float) -> bool:
    """Set equality: each value equals some gold, and each gold some value."""
    if kind != "float":
        return set(values) == set(golds)
    mine, theirs = set(values), set(golds)
    if {v for v in mine if not isinstance(v, Decimal)} != {g for g in theirs if not isinstance(g, Decimal)}:
        return False
    return _cover_each_other(_sorted_floats(mine), _sorted_floats(theirs), tolerance)


def _sorted_floats(values: set[Value]) -> Floats:
    return np.sort(np.array([float(v) for v in values if isinstance(v, Decimal)], dtype=np.float64))


def _cover_each_other(values: Floats, golds: Floats, tolerance: float) -> bool:
    """Whether each value lies in some gold's interval, and each gold's interval holds some value."""
    if not len(values) or not len(golds):
        return len(values) == len(golds)
    place = np.searchsorted(golds, values)
    below, above = golds[np.maximum(place - 1, 0)], golds[np.minimum(place, len(golds) - 1)]
    near = (np.abs(values - below) <= tolerance * np.abs(below)) | (np.abs(values - above) <= tolerance * np.abs(above))
    place = np.searchsorted(values, golds)
    below, above = values[np.maximum(place - 1, 0)], values[np.minimum(place, len(values) - 1)]
    reach = tolerance * np.abs(golds)
    held = (np.abs(below - golds) <= reach) | (np.abs(above - golds) <= reach)
    return bool(near.all() and held.all())


def equal_sequences(
    rows: Sequence[Sequence[Value]], golds: Sequence[Sequence[Value]], tolerances: Sequence[float]
) -> bool:
    """Row by row, in order. `tolerances` has one entry a column, 0 for exact."""
    return len(rows) == len(golds) and all(
        all(_same(v, g, t) for v, g, t in zip(row, gold, tolerances, strict=True))
        for row, gold in zip(rows, golds, strict=True)
    )


def equal_bags(rows: Sequence[Sequence[Value]], golds: Sequence[Sequence[Value]], tolerances: Sequence[float]) -> bool:
    """Bag equality: a one-to-one matching of rows."""
    if len(rows) != len(golds):
        return False
    mine, theirs = _grouped(rows, tolerances), _grouped(golds, tolerances)
    if {key: len(group) for key, group in mine.items()} != {key: len(group) for key, group in theirs.items()}:
        return False
    return all(_match(group, theirs[key], [t for t in tolerances if t]) for key, group in mine.items())


def equal_in_groups(
    rows: Sequence[Sequence[Value]],
    golds: Sequence[Sequence[Value]],
    tolerances: Sequence[float],
    groups: Sequence[int],
) -> bool:
    """A sequence of bags: runs of tied rows, of the given sizes, may come in any order among themselves."""
    if len(rows) != len(golds):
        return False
    ends = list(accumulate(groups, initial=0))
    return all(equal_bags(rows[a:b], golds[a:b], tolerances) for a, b in pairwise(ends))


def _same(value: Value, gold: Value, tolerance: float) -> bool:
    if tolerance and isinstance(value, Decimal) and isinstance(gold, Decimal):
        return close(value, gold, tolerance)
    return value == gold and type(value) is type(gold)


def _grouped(rows: Sequence[Sequence[Value]], tolerances: Sequence[float]) -> dict[Exact, list[list[float]]]:
    """Rows by their exact cells; of a tolerant cell the key holds what is not a number, the list the number."""
    groups: dict[Exact, list[list[float]]] = defaultdict(list)
    for row in rows:
        tolerant = [t > 0 and isinstance(v, Decimal) for v, t in zip(row, tolerances, strict=True)]
        key = tuple(True if loose else value for value, loose in zip(row, tolerant, strict=True))
        numbers = [float(v) if isinstance(v, Decimal) else 0.0 for v, t in zip(row, tolerances, strict=True) if t]
        groups[key].append(numbers)
    return groups


def _match(rows: list[list[float]], golds: list[list[float]], tolerances: list[float]) -> bool:
    if not tolerances:
        return True
    if len(tolerances) == 1 or len(rows) > DENSE_ROWS:
        pairs = zip(sorted(rows), sorted(golds), strict=True)
        return all(
            abs(v - g) <= t * abs(g) for row, gold in pairs for v, g, t in zip(row, gold, tolerances, strict=True)
        )
    mine, theirs = np.array(rows), np.array(golds)
    edges = np.ones((len(rows), len(golds)), dtype=bool)
    for column, tolerance in enumerate(tolerances):
        gap = np.abs(mine[:, column, None] - theirs[None, :, column])
        edges &= gap <= tolerance * np.abs(theirs[None, :, column])
    matched = maximum_bipartite_matching(csr_array(edges), perm_type="column")
    return bool((matched >= 0).all())
