"""The rule-based rewriter: try a rule at a place, run it, verify what is cheaper, keep or go back, stack, submit.

It keeps nothing between turns: what it has tried is read from the turn.
"""

from collections.abc import Iterator
from functools import lru_cache

from services.contracts.etl import Contract, EtlAction, EtlTurn, RunRewrite, Submit, Verify
from services.policy.rewriter.candidates import EVERYWHERE, Edit, candidates
from services.policy.rewriter.facts import Schema
from services.policy.rewriter.progress import Progress, Statements, progress_of

_RESERVE = 2
"""Steps that are kept to run the best rewrite once more and to submit it."""


class RewriterPolicy:
    """Greedy search over the rules' edits, by measured cost; only what VERIFY calls equal is built upon."""

    def act(self, turn: EtlTurn) -> EtlAction:
        """The next action."""
        progress = progress_of(turn)
        left = turn.observation.budget_remaining
        if progress.awaits_verdict and left > _RESERVE:
            return Verify(reasoning="it was cheaper: is the output still production's?")
        edit = next(_untried(progress, turn), None) if left > _RESERVE + 1 else None
        if edit is not None:
            base = "the best so far" if progress.best != progress.original else "the original"
            why = f"try {edit.rule} at {edit.place} on {base}"
            return RunRewrite(statements=edit.statements, rule=edit.rule, place=edit.place, reasoning=why)
        if progress.last != progress.best:
            return RunRewrite(
                statements=progress.best, rule="best", reasoning="nothing cheaper is left: back to the best"
            )
        return Submit(reasoning=f"the best of {len(progress.costs)} rewrites")


def _untried(progress: Progress, turn: EtlTurn) -> Iterator[Edit]:
    """The edits of the best that are worth a run: none that ran, and no single place where all at once did not pay."""
    needless = set()
    for edit in edits_of(progress.best, turn):
        rule, cost = (edit.rule, edit.place.partition(".")[0]), progress.costs.get(edit.statements)
        if edit.place.endswith(EVERYWHERE) and cost is not None and edit.statements not in progress.refuted:
            needless.add(rule)
        if edit.statements not in progress.costs and rule not in needless:
            yield edit


def edits_of(statements: Statements, turn: EtlTurn) -> tuple[Edit, ...]:
    """The edits that the turn's contract licenses."""
    tables = tuple(
        (table.name.lower(), tuple((c.name.lower(), c.type) for c in table.columns)) for table in turn.tables
    )
    return _cached(statements, turn.contract.model_dump_json(), tables)


@lru_cache(maxsize=256)
def _cached(
    statements: Statements, contract: str, tables: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
) -> tuple[Edit, ...]:
    schema: Schema = {name: dict(columns) for name, columns in tables}
    return candidates(statements, Contract.model_validate_json(contract), schema)
