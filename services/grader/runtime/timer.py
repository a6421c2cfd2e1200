"""Takes the measurements of a batch on one core: a canary first, then each comparison's pairs until they decide.

Invariant: a broken machine raises TimingFault, and nothing of the batch is kept.
"""

import os
import platform
import secrets
from collections.abc import Sequence
from pathlib import Path

import duckdb

from services.grader.runtime.boundary import LOOKS, canary_crossed, last_look
from services.grader.runtime.cores import Core
from services.grader.runtime.faults import CanaryFired
from services.grader.runtime.job import Comparison
from services.grader.runtime.measurement import Machine, Measurement, Pair
from services.grader.runtime.plans import equal_plans
from services.grader.runtime.running import run_once
from services.grader.runtime.sides import NotFit, RunJob, Sides, orders
from services.grader.runtime.verdict import SecondOpinion, derive

CANARY_PAIRS = LOOKS[0]


class Timer:
    """Measures on the core that it was given."""

    def __init__(self, core: Core, run: RunJob = run_once) -> None:
        self._core = core
        self._run = run

    def batch(self, comparisons: Sequence[Comparison], keep: Path | None = None) -> list[Measurement]:
        """The measurements, in order. Raises CanaryFired if the first original differs from itself; BadInput.

        With `keep`, that folder then holds NUMBER/original and NUMBER/rewrite: what one pair, drawn in secret, put out.
        To be paid for a run whose output nobody has compared is to be paid for anything.
        """
        if not comparisons:
            return []
        machine = machine_here()
        canary = self._canary(comparisons[0])
        folders = [keep and keep / str(number) for number in range(len(comparisons))]
        return [
            self._measure(comparison, Sides(comparison, self._core, self._run, folder), machine, canary)
            for comparison, folder in zip(comparisons, folders, strict=True)
        ]

    def remeasure(self, stored: Measurement) -> SecondOpinion:
        """The stored comparison measured again, beside what it first came to. Raises TimingFault, BadInput."""
        (again,) = self.batch([stored.comparison])
        return SecondOpinion(first=derive(stored), second=derive(again), measurement=again)

    def _canary(self, comparison: Comparison) -> tuple[Pair, ...]:
        """The original against itself; none if it cannot be run, which its own measurement will say."""
        itself = Comparison(original=comparison.original, rewrite=comparison.original.statements, seed=comparison.seed)
        sides = Sides(itself, self._core, self._run)
        order = orders(f"canary/{itself.seed}")
        try:
            pairs = tuple(sides.pair(next(order)) for _ in range(CANARY_PAIRS))
        except NotFit:
            return ()
        if canary_crossed([pair.log_ratio for pair in pairs]):
            raise CanaryFired(f"core {self._core.number} times a job as different from itself: measure the batch again")
        return pairs

    def _measure(self, comparison: Comparison, sides: Sides, machine: Machine, canary: tuple[Pair, ...]) -> Measurement:
        drawn = secrets.randbelow(LOOKS[0])
        taken = Measurement(comparison=comparison, machine=machine, canary=canary)
        pairs: list[Pair] = []
        try:
            original = sides.run("original", profile=True, keep=True)
            taken = taken.model_copy(update={"original": original})
            rewrite = sides.run("rewrite", profile=True, keep=True)
            taken = taken.model_copy(update={"rewrite": rewrite})
            if equal_plans(comparison, original, rewrite):
                return taken.model_copy(update={"equal_plans": True})
            for first in orders(f"pairs/{comparison.seed}"):
                pairs.append(sides.pair(first, keep=len(pairs) == drawn))
                if _enough(pairs):
                    break
        except NotFit as stop:
            return taken.model_copy(update={"unfit": stop.unfit, "pairs": tuple(pairs)})
        return taken.model_copy(update={"pairs": tuple(pairs)})


def _enough(pairs: Sequence[Pair]) -> bool:
    if len(pairs) not in LOOKS:
        return False
    look = last_look([pair.log_ratio for pair in pairs])
    return len(pairs) == LOOKS[-1] or (look is not None and look.crossed)


def machine_here() -> Machine:
    """The machine that this process runs on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        host=platform.node(),
        cpu=models[0] if models else platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        engine=duckdb.__version__,
        load=os.getloadavg()[0],
    )
