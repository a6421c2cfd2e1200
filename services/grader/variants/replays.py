"""Follows one support of an answer on every variant of its task, by replaying the agent's own statements."""

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Protocol

from services.contracts.grading import Found, Verification
from services.contracts.statements import LimitHit, ResultTable, Rows, StatementOutcome
from services.grader.gold import GoldAnswer
from services.grader.variants.agreement import agrees
from services.grader.variants.binding import Binding, bindings, bound
from services.grader.variants.composing import Composition
from services.grader.variants.library import DatabaseVariants
from services.grader.variants.support import Way

DEPTH = 4
"""Statements in a row of which each carries a constant that the one before had found."""


Judged = MutableMapping[tuple[str, str, str], Verification]
"""What was found out by task, statement and way, whichever step it was."""


class Replayer(Protocol):
    """Runs one statement on several variants in the sandbox. Raises SandboxFault."""

    async def replay(
        self, name: str, variants: Sequence[Path], sql: str, picks: Sequence[int]
    ) -> tuple[StatementOutcome, ...]:
        """The outcome on each picked variant, in order."""
        ...


class Replays:
    """The replays of one answer. A limit that a replay runs into leaves the answer unsupported, and is recorded."""

    def __init__(self, gold: GoldAnswer, variants: DatabaseVariants, sandbox: Replayer, judged: Judged) -> None:
        self._gold = gold
        self._judged = judged
        self._variants = variants
        self._sandbox = sandbox
        self._expected = variants.golds(gold.task_id)
        self._limits: set[str] = set()

    async def of_one(self, source: Found, way: Way) -> Verification:
        """One statement, and the way from its rows to the answer."""
        said = f"step {source.step}: {way.in_words()}"
        key = (self._gold.task_id, source.sql, way.model_dump_json())
        if key in self._judged:
            return self._judged[key].model_copy(update={"support": said})
        rows = await self._everywhere(source.sql)
        made = {place: None if found is None else way.follow(found) for place, found in rows.items()}
        verdict = self._verdict(said, made)
        if not verdict.limits:
            self._judged[key] = verdict
        return verdict

    async def of_several(self, composition: Composition) -> Verification:
        """Several statements, and what is made of their rows."""
        parts = [await self._everywhere(part.sql) for part in composition.parts]
        made: dict[int, Rows | None] = {}
        for place, _ in self._expected:
            found = [rows[place] for rows in parts]
            known = [rows for rows in found if rows is not None]
            made[place] = composition.make(known) if len(known) == len(found) else None
        return self._verdict(composition.said, made)

    async def of_bound(self, source: Found, way: Way, carried: Sequence[Binding], question: str) -> Verification:
        """A statement whose constants are what earlier statements find on each variant."""
        made: dict[int, Rows | None] = {}
        for place, _ in self._expected:
            rows = await self._bound_rows(source, carried, question, place, DEPTH)
            made[place] = None if rows is None else way.follow(rows)
        steps = ", ".join(sorted({f"step {binding.source.step}" for binding in carried}))
        return self._verdict(f"step {source.step} with what {steps} found: {way.in_words()}", made)

    async def _bound_rows(
        self, source: Found, carried: Sequence[Binding], question: str, place: int, depth: int
    ) -> Rows | None:
        values = []
        for binding in carried:
            inner = tuple(bindings(binding.source, binding.earlier, question)) if depth else ()
            rows = await self._bound_rows(binding.source, inner, question, place, depth - 1)
            if rows is None:
                return None
            values.append((binding, binding.values(rows)))
        sql = bound(source.sql, values) if values else source.sql
        return None if sql is None else (await self._on(sql, [place]))[place]

    async def _everywhere(self, sql: str) -> Mapping[int, Rows | None]:
        return await self._on(sql, [place for place, _ in self._expected])

    async def _on(self, sql: str, picks: Sequence[int]) -> dict[int, Rows | None]:
        """The rows on each variant; None where there are none that could be believed."""
        outcomes = list(await self._sandbox.replay(self._variants.name, self._variants.paths, sql, picks))
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, LimitHit) and outcome.reason == "timeout":  # the time was for all: now each has it
                again = await self._sandbox.replay(self._variants.name, self._variants.paths, sql, [picks[number]])
                outcomes[number] = again[0]
                if isinstance(again[0], LimitHit):
                    break
        self._limits |= {outcome.reason for outcome in outcomes if isinstance(outcome, LimitHit)}
        return {
            place: outcome.rows if isinstance(outcome, ResultTable) and not outcome.truncated else None
            for place, outcome in zip(picks, outcomes, strict=True)
        }

    def _verdict(self, said: str, made: Mapping[int, Rows | None]) -> Verification:
        failed = tuple(
            self._variants.variant(place)
            for place, truth in self._expected
            if (rows := made[place]) is None or not agrees(self._gold, truth, rows)
        )
        limits = tuple(sorted(self._limits)) if failed else ()
        self._limits.clear()
        return Verification(
            verdict="unsupported" if limits else "correct_on_base_only" if failed else "correct",
            support=said,
            variants=len(self._expected),
            failed_on=failed,
            limits=limits,
        )
