"""The two sides of a comparison, run in turn: ABBA by a seed's coin, each run held against the outputs seen before.

Invariant: a side's output is the same in every run, and not shown to differ from the original's, or NotFit says which
side it was.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from services.grader.runtime.cores import Core
from services.grader.runtime.job import Comparison, Job
from services.grader.runtime.measurement import Pair, Side, Unfit
from services.grader.runtime.run import Output, Run, RunOutcome, Stopped

RunJob = Callable[[Job, Core, bool, Path | None], RunOutcome]


class NotFit(Exception):
    """Ends a measurement with the reason."""

    def __init__(self, unfit: Unfit) -> None:
        super().__init__(unfit.message)
        self.unfit = unfit


class Sides:
    """Both sides on one core; remembers what each of them has put out."""

    def __init__(self, comparison: Comparison, core: Core, run: RunJob, keep: Path | None = None) -> None:
        rewrite = comparison.original.rewritten(comparison.rewrite)
        self._jobs: dict[Side, Job] = {"original": comparison.original, "rewrite": rewrite}
        self._seen: dict[Side, tuple[Output, ...]] = {}
        self._core = core
        self._run = run
        self._keep = keep

    def pair(self, first: Side, keep: bool = False) -> Pair:
        """Both sides, that one first; to `keep` is to leave their outputs in the folder. Raises NotFit, TimingFault."""
        second: Side = "rewrite" if first == "original" else "original"
        runs = {side: self.run(side, keep=keep) for side in (first, second)}
        return Pair(original=runs["original"], rewrite=runs["rewrite"], first=first)

    def run(self, side: Side, profile: bool = False, keep: bool = False) -> Run:
        """One run of one side. Raises NotFit, TimingFault."""
        kept = self._keep / side if keep and self._keep else None
        outcome = self._run(self._jobs[side], self._core, profile, kept)
        if isinstance(outcome, Stopped):
            raise NotFit(Unfit(side=side, reason=outcome.reason, message=outcome.message))
        before = self._seen.setdefault(side, outcome.outputs)
        if before != outcome.outputs:
            raise NotFit(Unfit(side=side, reason="changed", message=_difference(before, outcome.outputs)))
        original = self._seen.get("original", outcome.outputs)
        if side == "rewrite" and not _alike(original, outcome.outputs):
            raise NotFit(Unfit(side=side, reason="different", message=_difference(original, outcome.outputs)))
        return outcome


def _alike(original: Sequence[Output], rewrite: Sequence[Output]) -> bool:
    """Not shown to differ: as many rows, and where the columns are of one type, the same exact values."""
    return len(original) == len(rewrite) and all(
        ours.rows == theirs.rows and (ours.columns != theirs.columns or ours.exact == theirs.exact)
        for ours, theirs in zip(original, rewrite, strict=True)
    )


def _difference(one: Sequence[Output], other: Sequence[Output]) -> str:
    return "; ".join(
        f"{a.name}: {a.rows} rows, then {b.rows}" if a.rows != b.rows else f"{a.name}: other values in {a.rows} rows"
        for a, b in zip(one, other, strict=False)
        if a != b
    )


def orders(seed: str) -> Iterator[Side]:
    """Which side runs first, pair by pair, without end: ABBA or BAAB, by the seed's coin."""
    coin = random.Random(seed)
    while True:
        block: list[Side] = ["original", "rewrite"]
        coin.shuffle(block)
        yield from block
