"""The rule-based rewriter: apply all rules, run, verify, leave out what does not pay, try single places, submit.

It keeps nothing between turns: what it has tried is read from the turn.
"""

from collections.abc import Iterator
from functools import lru_cache

from services.contracts.etl import Contract, EtlAction, EtlTurn, RunRewrite, Submit, Verify
from services.policy.rewriter.candidates import EVERYWHERE, STACK, Edit, candidates, stacked
from services.policy.rewriter.facts import Schema
from services.policy.rewriter.progress import Progress, Statements, progress_of

_RESERVE = 2
"""Steps that are kept to run the best rewrite once more and to submit it."""
Tables = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


class RewriterPolicy:
    """Search over the rules' edits by measured cost; only what VERIFY calls equal is built upon."""

    def act(self, turn: EtlTurn) -> EtlAction:
        """The next action."""
        progress = progress_of(turn)
        left = turn.observation.budget_remaining
        if progress.awaits_verdict and left > _RESERVE:
            return Verify(reasoning="it was cheaper: is the output still production's?")
        edit = next(_untried(progress, turn), None) if left > _RESERVE + 1 else None
        if edit is not None:
            base = "the best so far" if progress.best != progress.original and edit.rule != STACK else "the original"
            why = f"try {edit.rule} at {edit.place} on {base}"
            return RunRewrite(statements=edit.statements, rule=edit.rule, place=edit.place, reasoning=why)
        if progress.last != progress.best:
            return RunRewrite(
                statements=progress.best, rule="best", reasoning="nothing cheaper is left: back to the best"
            )
        return Submit(reasoning=f"the best of {len(progress.costs)} rewrites")


def _untried(progress: Progress, turn: EtlTurn) -> Iterator[Edit]:
    """What is worth a run and has not had one: stacks of rules first, then single edits of the best."""
    left_out: frozenset[str] = frozenset()
    whole, used = stack_of(turn, left_out)
    if len(used) > 1:
        if whole.statements not in progress.costs:
            yield whole
        yield from _smaller_stacks(progress, turn, used)
    needless = set()
    for edit in edits_of(progress.best, turn):
        rule, cost = (edit.rule, edit.place.partition(".")[0]), progress.costs.get(edit.statements)
        if edit.place.endswith(EVERYWHERE) and cost is not None and edit.statements not in progress.refuted:
            needless.add(rule)
        if edit.statements not in progress.costs and rule not in needless:
            yield edit


def _smaller_stacks(progress: Progress, turn: EtlTurn, used: tuple[str, ...]) -> Iterator[Edit]:
    """The best stack with one rule more left out; the rules that it leaves out already are found by trying."""
    out: frozenset[str] = frozenset()
    needless = [rule for rule in used if _as_cheap_without(progress, turn, rule)]
    while True:
        better = None
        for rule in used if not out else needless:
            edit, _ = stack_of(turn, out | {rule})
            if rule not in out and edit.statements not in progress.costs and edit.statements != progress.original:
                yield edit
            if rule not in out and edit.statements in progress.accepted:
                better = rule
        if better is None:
            return
        out |= {better}


def _as_cheap_without(progress: Progress, turn: EtlTurn, rule: str) -> bool:
    """Whether all rules but that one cost no more than all of them did, as far as is known."""
    whole, less = (
        progress.costs.get(stack_of(turn, out)[0].statements) for out in (frozenset[str](), frozenset({rule}))
    )
    return whole is None or less is None or less < whole


def stack_of(turn: EtlTurn, without: frozenset[str]) -> tuple[Edit, tuple[str, ...]]:
    """All rules but those, on the original; and the rules that fitted."""
    return _stack(turn.first.original, turn.contract.model_dump_json(), _tables(turn), without)


def edits_of(statements: Statements, turn: EtlTurn) -> tuple[Edit, ...]:
    """The edits that the turn's contract licenses."""
    return _edits(statements, turn.contract.model_dump_json(), _tables(turn))


def _tables(turn: EtlTurn) -> Tables:
    return tuple((table.name.lower(), tuple((c.name.lower(), c.type) for c in table.columns)) for table in turn.tables)


def _schema(tables: Tables) -> Schema:
    return {name: dict(columns) for name, columns in tables}


@lru_cache(maxsize=256)
def _edits(statements: Statements, contract: str, tables: Tables) -> tuple[Edit, ...]:
    return candidates(statements, Contract.model_validate_json(contract), _schema(tables))


@lru_cache(maxsize=256)
def _stack(
    statements: Statements, contract: str, tables: Tables, without: frozenset[str]
) -> tuple[Edit, tuple[str, ...]]:
    return stacked(statements, Contract.model_validate_json(contract), _schema(tables), without)
