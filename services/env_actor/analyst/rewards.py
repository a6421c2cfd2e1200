"""What a step of the analyst is paid (sql-data-analyst-prd §5).

Invariant: the improvements of an episode add up to 0.50 × its best score, in however many steps it was reached; a
score that falls and rises again is paid once.
"""

from services.contracts.grading import AnalystComponents

IMPROVEMENT = 0.50
COMPLETION = 0.50
COMPLETE_AT = 0.80
INVALID = -0.10
EFFICIENCY = -0.02
_ROUNDING = 1e-9


def is_complete(score: float) -> bool:
    """Whether a submission of that score solves the task."""
    return score >= COMPLETE_AT - _ROUNDING


class AnalystLedger:
    """The rewards of one episode so far. `budget` is its number of steps; its second half costs."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._steps = 0
        self.best = 0.0

    def step(self, score: float | None, invalid: bool, completes: bool) -> AnalystComponents:
        """One step: the score of its statement (None if it gave no rows), and whether it submits a solution."""
        self._steps += 1
        gain = max(0.0, (score or 0.0) - self.best)
        self.best = max(self.best, score or 0.0)
        return AnalystComponents(
            improvement=IMPROVEMENT * gain,
            completion=COMPLETION if completes else 0.0,
            invalid=INVALID if invalid else 0.0,
            efficiency=EFFICIENCY if 2 * self._steps > self._budget else 0.0,
        )
