"""The comparison of two tables: gate, one reading of each side, and, only if these differ, the rows that do.

Where the files themselves say that floats differ, the rows are gathered in the first reading: a hint may cost or save
time, and decides nothing.

Invariant: "identical" and "within_tolerance" are said only of tables that are, but for the chance that
services.grader.tables.scan bounds; the keys are drawn here, after both sides have been opened and stamped.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import numpy as np
import pyarrow as pa

from services.contracts.errors import BadInput, Infrastructure
from services.grader.tables.collect import Parts, Shape, collect
from services.grader.tables.examples import Leftovers, counterexamples, judge_of
from services.grader.tables.pairing import Flags, Floats, Tolerance, pair
from services.grader.tables.refute import hashed, refuted
from services.grader.tables.scan import Layout, OnRows, Sketch, bad_buckets, sketch
from services.grader.tables.schema import FLOATS, Column, columns_of, schema_differences
from services.grader.tables.source import Source, open_source
from services.grader.tables.verdict import ColumnDrift, Comparison, TableJob, TableRules, TableVerdict

Result = TypeVar("Result")
OnProgress = Callable[[str, int, int], None]
"""Is told what is being done, how many rows of it are done, and how many there are."""


class Stopped(Exception):
    """The comparison was given up while a side was read."""


def compare(job: TableJob, on_progress: OnProgress = lambda what, done, total: None) -> Comparison:
    """Compare two tables. Raises BadInput for what cannot be read or asked, Infrastructure for a broken machine."""
    started = time.monotonic()
    with ExitStack() as stack:
        left, right = (stack.enter_context(closing(open_source(where))) for where in (job.left, job.right))
        try:
            comparison = _Comparing(job, left, right, on_progress).run()
        except MemoryError as error:
            raise Infrastructure(f"no memory to compare {job.left} and {job.right}: {error}") from error
        left.check()
        right.check()
    return comparison.model_copy(update={"seconds": time.monotonic() - started})


@dataclass(frozen=True)
class _Paired:
    """What pairing gave."""

    left: Sketch
    right: Sketch
    leftovers: Leftovers
    tolerance: Tolerance
    drift: Floats


class _Comparing:
    """One comparison on its way."""

    def __init__(self, job: TableJob, left: Source, right: Source, on_progress: OnProgress) -> None:
        self._job = job
        self._left = left
        self._right = right
        self._on_progress = on_progress
        self._columns: tuple[Column, ...] = ()

    def run(self) -> Comparison:
        rules, sides = self._job.rules, (self._left, self._right)
        _check_names(rules, self._left.schema, self._right.schema)
        ours, theirs = (columns_of(_without(side.schema, rules.ignore), side.name) for side in sides)
        self._columns = ours
        differences = schema_differences(ours, theirs)
        if differences:
            found = self._said("different", self._left.rows, self._right.rows)
            return found.model_copy(update={"schema_differences": differences})
        if not rules.examples and self._refuted(hashed(ours)):
            return self._said("different", self._left.rows, self._right.rows)
        layout = layout_of(ours, rules)
        drifted = any(self._left.ranges.get(name) != self._right.ranges.get(name) for name in layout.tolerant)
        if drifted and self._left.rows == self._right.rows:
            return self._judge_pairs(layout, self._pair(layout, None, max(self._left.rows, self._right.rows)))
        left, right = self._both("reading", lambda side, on_rows: sketch(side, layout, on_rows))
        return self._judge(layout, left, right)

    def _refuted(self, names: Sequence[str]) -> bool:
        """Whether a glance shows a difference, where no more than the verdict is asked for."""
        return bool(names) and refuted(*self._both("looking", lambda side, on_rows: side.glance(names)))

    def _judge(self, layout: Layout, left: Sketch, right: Sketch) -> Comparison:
        """The verdict after a reading that only sums up."""
        bad = bad_buckets(left, right)
        if not bad.any() and left.rows == right.rows:
            return self._said("identical", left.rows, right.rows, 0, 0, 0)
        proven = left.rows != right.rows or left.exact_sum != right.exact_sum or not layout.tolerant
        if proven and not self._job.rules.examples:
            return self._said("different", left.rows, right.rows)
        paired = self._pair(layout, bad, math.ceil(max(left.rows, right.rows) * float(bad.mean())))
        unlike = (left.rows, right.rows) != (paired.left.rows, paired.right.rows)
        if unlike or not (paired.leftovers.counts.any() or paired.drift.any()):
            raise Infrastructure(f"{self._left.name} or {self._right.name} gave other rows when it was read again")
        return self._judge_pairs(layout, paired)

    def _judge_pairs(self, layout: Layout, paired: "_Paired") -> Comparison:
        """The verdict once all rows that may differ have been paired."""
        changed, missing, extra = (int(count) for count in paired.leftovers.counts)
        verdict: TableVerdict = "within_tolerance" if paired.drift.any() else "identical"
        if paired.leftovers.counts.any():
            verdict = "different"
        judge = judge_of([column.name for column in self._columns], layout.tolerant, paired.tolerance)
        most = self._job.rules.examples
        found = counterexamples(self._left, self._right, paired.leftovers, judge, most) if most else ()
        said = self._said(verdict, paired.left.rows, paired.right.rows, missing, extra, changed)
        drifts = _drifts(layout.tolerant, paired.drift, paired.tolerance)
        return said.model_copy(update={"drift": drifts, "counterexamples": found})

    def _pair(self, layout: Layout, bad: Flags | None, most: int) -> "_Paired":
        """Read the rows of the bad buckets, or all, and pair them, part by part. `most` is what a side may have."""
        shape, leftovers, drift = Shape(layout), Leftovers(), np.zeros((len(layout.tolerant), 3))
        with Parts(shape, most) as ours, Parts(shape, most) as theirs:
            parts = {id(self._left): ours, id(self._right): theirs}
            what = "reading" if bad is None else "reading again"
            left, right = self._both(what, lambda side, on_rows: collect(side, layout, bad, parts[id(side)], on_rows))
            tolerance = Tolerance(_atol(left, right, self._job.rules.atol), self._job.rules.rtol)
            for done, (mine, other) in enumerate(zip(ours, theirs, strict=True), 1):
                leftovers.add(pair(mine, other, shape, tolerance, drift))
                self._on_progress("pairing", done, len(ours))
        return _Paired(left, right, leftovers, tolerance, drift)

    def _both(self, what: str, read: Callable[[Source, OnRows], Result]) -> tuple[Result, Result]:
        """Read both sides at once, a thread a side."""
        total, done = self._left.rows + self._right.rows, 0
        lock, stop = threading.Lock(), threading.Event()

        def on_rows(rows: int) -> None:
            nonlocal done
            if stop.is_set():
                raise Stopped
            with lock:
                done += rows
                self._on_progress(what, done, total)

        with ThreadPoolExecutor(2, thread_name_prefix="side") as threads:
            left, right = (threads.submit(read, side, on_rows) for side in (self._left, self._right))
            try:
                return left.result(), right.result()
            finally:
                stop.set()

    def _said(
        self,
        verdict: TableVerdict,
        left_rows: int,
        right_rows: int,
        missing: int | None = None,
        extra: int | None = None,
        changed: int | None = None,
    ) -> Comparison:
        return Comparison(
            verdict=verdict,
            left=self._left.name,
            right=self._right.name,
            rules=self._job.rules,
            left_rows=left_rows,
            right_rows=right_rows,
            columns=len(self._columns),
            missing=missing,
            extra=extra,
            changed=changed,
            seconds=0.0,
        )


def _check_names(rules: TableRules, left: pa.Schema, right: pa.Schema) -> None:
    for name in rules.ignore:
        _known(name, [*left.names, *right.names], "ignored column")
    for name in rules.key:
        _known(name, left.names, "key column")
        if name in rules.ignore:
            raise BadInput(f"the key column {name} cannot be ignored")
    if set(left.names) | set(right.names) <= set(rules.ignore):
        raise BadInput("no column is left to compare")


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        near = get_close_matches(name, names, 1)
        raise BadInput(f"unknown {what} {name}" + (f"; did you mean {near[0]}?" if near else f": there are {names}"))


def _without(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name not in names])


def layout_of(columns: Sequence[Column], rules: TableRules) -> Layout:
    """Which columns are compared exactly: all but the floats that are no key, unless the tolerance is nothing."""
    loose = rules.rtol > 0 or rules.atol > 0
    tolerant = [column.name for column in columns if loose and column.type in FLOATS and column.name not in rules.key]
    exact = [column.name for column in columns if column.name not in rules.key and column.name not in tolerant]
    return Layout(rules.key, tuple(exact), tuple(tolerant))


def _atol(left: Sketch, right: Sketch, atol: float) -> Floats:
    """atol in each column's units: times 2 to the mean binary exponent of its finite values that are not 0.

    The smaller of the two sides' sizes counts, so that neither author can widen the tolerance; without values it is 0.
    """
    scales = np.zeros(len(left.exponents))
    for place, sides in enumerate(zip(left.exponents.tolist(), right.exponents.tolist(), strict=True)):
        if all(count for _, count in sides):
            scales[place] = math.ldexp(1.0, min(total // count for total, count in sides))
    return np.asarray(atol * scales)


def _drifts(names: Sequence[str], drift: Floats, tolerance: Tolerance) -> tuple[ColumnDrift, ...]:
    return tuple(
        ColumnDrift(column=name, worst_absolute=absolute, worst_relative=relative, rows=int(rows), atol=atol)
        for name, (absolute, relative, rows), atol in zip(names, drift.tolist(), tolerance.atol.tolist(), strict=True)
        if rows
    )
