"""The sandbox of the analyst: a statement runs for the agent, then wherever its score needs it to.

Invariant: what runs on a hidden copy is the agent's own statement, in a child that holds that copy alone, and nothing
of what it gives there goes back to the agent but the score.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.contracts.grading import QueryGrader
from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError, StatementOutcome
from services.contracts.trials import Profile, Purpose, Trial, TrialNote, TrialOrder, Tried

Given = Mapping[tuple[Purpose, str], LimitHit]
"""Limits that trials ran into when they were recorded, by purpose and database."""
LIMITS = ("timeout", "memory", "result_size", "crash")


class TrialGround(Protocol):
    """A sandbox that runs statements, and counts what they do. Raises SandboxFault."""

    async def run(self, database: str, sql: str) -> tuple[StatementOutcome, float | None]:
        """The outcome of the statement, and the seconds that it ran; None if it was known already."""
        ...

    async def profile(self, database: str, sql: str) -> Profile | Refused | SqlError | LimitHit:
        """What the engine counts when it runs the statement."""
        ...


class TrialSandbox:
    """Runs the statements of one task. Trials are the grader's: their seconds are nobody's."""

    def __init__(self, ground: TrialGround, grader: QueryGrader, task_id: str) -> None:
        self._ground = ground
        self._grader = grader
        self._task_id = task_id

    async def run(self, database: str, sql: str) -> tuple[Tried, float | None]:
        """The outcome with its trials, and the seconds that the statement ran for the agent. Raises SandboxFault."""
        outcome, seconds = await self._ground.run(database, sql)
        return await self.complete(sql, outcome, {}), seconds

    async def complete(self, sql: str, outcome: StatementOutcome, given: Given) -> Tried:
        """The outcome with its trials; a trial whose limit is `given` is not run again. Raises SandboxFault."""
        orders = self._grader.orders(self._task_id, sql, outcome) if isinstance(outcome, ResultTable) else ()
        return Tried(outcome=outcome, trials=tuple([await self._try(order, given) for order in orders]))

    async def _try(self, order: TrialOrder, given: Given) -> Trial:
        limit = given.get((order.purpose, order.database))
        if limit is not None:
            return Trial(order=order, outcome=limit)
        if order.purpose == "cost":
            return Trial(order=order, outcome=await self._ground.profile(order.database, order.sql))
        return Trial(order=order, outcome=(await self._ground.run(order.database, order.sql))[0])


def limits_given(notes: Sequence[TrialNote]) -> Given:
    """The recorded trials that ran into a limit, which a regrade takes as they were."""
    return {
        (note.purpose, note.database): LimitHit.model_validate({"reason": note.outcome, "message": "as recorded"})
        for note in notes
        if note.outcome in LIMITS
    }
