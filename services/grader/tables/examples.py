"""Counterexamples: rows without an equal, each beside its nearest partner and with the columns that differ.

The nearest partner agrees in the most columns; among those, its floats are the nearest. It is looked for among the
first CANDIDATES rows that have no equal either.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from services.grader.tables.pairing import Tolerance, Unpaired
from services.grader.tables.source import Source
from services.grader.tables.values import Row, fetch, shown
from services.grader.tables.verdict import Counterexample

CANDIDATES = 500
Places = npt.NDArray[np.int64]


class Leftovers:
    """The rows without an equal: counted in all, and the first of them by place."""

    def __init__(self) -> None:
        self.counts = np.zeros(3, dtype=np.int64)
        self.first = Unpaired(np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))

    def add(self, found: Unpaired) -> None:
        """Take in what is left of one part."""
        self.counts += len(found.changed), len(found.missing), len(found.extra)
        changed = np.concatenate([self.first.changed, found.changed])
        self.first = Unpaired(
            changed[np.argsort(changed[:, 0], kind="stable")][:CANDIDATES],
            np.sort(np.concatenate([self.first.missing, found.missing]))[:CANDIDATES],
            np.sort(np.concatenate([self.first.extra, found.extra]))[:CANDIDATES],
        )


@dataclass(frozen=True)
class Judge:
    """Says in which columns two rows differ, and by how much."""

    names: tuple[str, ...]
    tolerances: dict[str, float]
    rtol: float

    def differing(self, left: Row, right: Row) -> tuple[str, ...]:
        """The columns whose values are not equal, nor within the tolerance."""
        cells = zip(self.names, left, right, strict=True)
        return tuple(name for name, a, b in cells if a != b and not self._close(name, a, b))

    def distance(self, left: Row, right: Row) -> tuple[int, float]:
        """How many columns differ, and the sum of the floats' relative distances."""
        names = self.differing(left, right)
        cells = dict(zip(self.names, zip(left, right, strict=True), strict=True))
        return len(names), sum(self._gap(*cells[name]) for name in names if name in self.tolerances)

    def _close(self, name: str, a: str | None, b: str | None) -> bool:
        if name not in self.tolerances or a is None or b is None:
            return False
        x, y = float(a), float(b)
        finite = math.isfinite(x) and math.isfinite(y)
        return finite and abs(x - y) <= self.tolerances[name] + self.rtol * max(abs(x), abs(y))

    def _gap(self, a: str | None, b: str | None) -> float:
        if a is None or b is None:
            return 1.0
        x, y = float(a), float(b)
        if not (math.isfinite(x) and math.isfinite(y)):
            return 1.0
        return abs(x / 2 - y / 2) / max(abs(x), abs(y), math.ulp(0.0))


def judge_of(names: Sequence[str], tolerant: Sequence[str], tolerance: Tolerance) -> Judge:
    """The judge of a comparison's columns."""
    return Judge(tuple(names), dict(zip(tolerant, tolerance.atol.tolist(), strict=True)), tolerance.rtol)


def counterexamples(
    left: Source, right: Source, leftovers: Leftovers, judge: Judge, most: int
) -> tuple[Counterexample, ...]:
    """At most `most` counterexamples: changed rows first, then missing ones, then extra ones."""
    first = leftovers.first
    ours = fetch(left, judge.names, np.concatenate([first.changed[:most, 0], first.missing]))
    theirs = fetch(right, judge.names, np.concatenate([first.changed[:most, 1], first.extra]))
    return tuple(islice(_examples(ours, theirs, leftovers, judge, most), most))


def _examples(
    ours: dict[int, Row], theirs: dict[int, Row], leftovers: Leftovers, judge: Judge, most: int
) -> Iterator[Counterexample]:
    first = leftovers.first
    for mine, other in first.changed[:most].tolist():
        yield _example("changed", ours[mine], theirs[other], judge)
    free = {place: theirs[place] for place in first.extra.tolist()}
    lost = first.missing.tolist()
    for place in lost[: most if not free else max(1, most // 2)]:
        partner = _nearest(ours[place], free, judge)
        yield _example("missing", ours[place], None if partner is None else free.pop(partner), judge)
    rest = {place: ours[place] for place in lost[most:]}
    for row in list(free.values()):
        partner = _nearest(row, rest, judge)
        yield _example("extra", None if partner is None else rest.pop(partner), row, judge)


def _nearest(row: Row, candidates: dict[int, Row], judge: Judge) -> int | None:
    """The place of the nearest row; None if none has a value in common."""
    if not candidates:
        return None
    distances = {place: judge.distance(row, other) for place, other in candidates.items()}
    best = min(distances, key=lambda place: (distances[place], place))
    return best if distances[best][0] < len(judge.names) else None


def _example(kind: str, left: Row | None, right: Row | None, judge: Judge) -> Counterexample:
    blank: Row = (None,) * len(judge.names)
    pairs = list(zip(judge.names, left or blank, right or blank, strict=True))
    return Counterexample.model_validate(
        {
            "kind": kind,
            "left": None if left is None else {name: shown(a, b) for name, a, b in pairs},
            "right": None if right is None else {name: shown(b, a) for name, a, b in pairs},
            "columns": () if left is None or right is None else judge.differing(left, right),
        }
    )
