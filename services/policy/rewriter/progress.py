"""Where a search stands, read from the episode so far: what was tried, what it cost, what is the best that is equal."""

import re
from dataclasses import dataclass, field

from services.contracts.etl import EtlTurn, RunRewrite, Verify

WORTH = 0.97
"""A rewrite is worth verifying if one run of it costs less than this share of the best one's."""
_COST = re.compile(r"([0-9.]+) CPU s in one run \(the original took ([0-9.]+)\)")
Statements = tuple[str, ...]


@dataclass
class Progress:
    """The search so far. `costs` are CPU seconds of one run; None: it did not run."""

    original: Statements
    costs: dict[Statements, float | None] = field(default_factory=dict)
    refuted: set[Statements] = field(default_factory=set)
    best: Statements = ()
    best_cost: float = float("inf")
    last: Statements = ()
    awaits_verdict: bool = False

    def ran(self, statements: Statements, text: str, error: str) -> None:
        """Note a run and what it said."""
        found = None if error else _COST.search(text)
        cost = float(found[1]) if found else None
        if found and self.best == self.original:
            self.best_cost = min(self.best_cost, float(found[2]))
        self.costs[statements] = cost
        self.last = statements if cost is not None else ()
        self.awaits_verdict = cost is not None and cost < WORTH * self.best_cost and statements not in self.refuted

    def verified(self, text: str, error: str) -> None:
        """Note what the last run's output is like beside production's."""
        self.awaits_verdict = False
        cost = self.costs.get(self.last)
        if error or not text.startswith("equal"):
            self.refuted.add(self.last)
        elif cost is not None and cost < self.best_cost:
            self.best, self.best_cost = self.last, cost


def progress_of(turn: EtlTurn) -> Progress:
    """The search so far."""
    original = turn.first.original
    found = Progress(original, best=original)
    for action, observation in turn.history:
        match action:
            case RunRewrite():
                found.ran(action.statements, observation.result, observation.error)
            case Verify():
                found.verified(observation.result, observation.error)
    return found
