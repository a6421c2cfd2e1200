"""Verification of an answer: right on the database, and its own queries right on every variant of it.

Invariant: only replays of the agent's statements decide; what the variants hold never leaves the grader.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from cachetools import LRUCache

from services.contracts.grading import AnswerGrader, Found, Verification
from services.contracts.tasks import Task
from services.grader.gold import GoldAnswer
from services.grader.variants.composing import composed, dependent
from services.grader.variants.library import DatabaseVariants, unpack
from services.grader.variants.replays import Judged, Replayer, Replays
from services.grader.variants.support import Way, other_ways, plain_way

STATEMENTS = 8
"""Different statements of an episode, the latest first, that an answer may rest on."""
KEPT = 10_000


class VariantVerifier:
    """Verifies the answers of one task set (protocol: services.contracts.grading.AnswerVerifier)."""

    def __init__(
        self,
        grader: AnswerGrader,
        golds: Mapping[str, GoldAnswer],
        archives: Mapping[str, tuple[Path, str]],
        cache: Path,
        sandbox: Replayer,
    ) -> None:
        self._grader = grader
        self._golds = golds
        self._archives = archives
        self._cache = cache
        self._sandbox = sandbox
        self._opened: dict[str, DatabaseVariants] = {}
        self._spelling: LRUCache[tuple[str, str], str] = LRUCache(KEPT)
        self._judged: Judged = LRUCache(KEPT)
        self._known: LRUCache[tuple[str, ...], Verification] = LRUCache(KEPT)
        self._plain: LRUCache[tuple[str, str], Way | None] = LRUCache(KEPT)

    async def verify(self, task: Task, answer: str, found: Sequence[Found]) -> Verification:
        """Whether the answer is right and follows from what was found. Raises SandboxFault."""
        if not self._grader.is_correct(task.task_id, answer):
            return Verification(verdict="incorrect")
        gold = self._golds[task.task_id]
        variants = self._variants(task.database)
        if not gold.gold_sql or variants is None or not variants.golds(task.task_id):
            return Verification(verdict="correct", support="the database only: the task has no variants")
        sources = [self._spelt(task.database, source) for source in _latest(found)]
        key = (task.task_id, _mark(answer), *(f"{f.step} {f.sql}" for f in sources))
        if key not in self._known:
            known = await self._verify(task, gold, answer, sources, variants)
            if known.limits:
                return known
            self._known[key] = known
        return self._known[key]

    async def _verify(
        self, task: Task, gold: GoldAnswer, answer: str, sources: Sequence[Found], variants: DatabaseVariants
    ) -> Verification:
        """The first support that holds everywhere, else what became of the plainest one."""
        replays = Replays(gold, variants, self._sandbox, self._judged)
        tried: list[Verification] = []
        async for one in self._supports(replays, task, gold, answer, sources):
            if one.verdict == "correct":
                return one
            tried.append(one)
        limited = [one for one in tried if one.limits]
        return next(iter((*limited, *tried)), Verification(verdict="unsupported"))

    async def _supports(
        self, replays: Replays, task: Task, gold: GoldAnswer, answer: str, sources: Sequence[Found]
    ) -> AsyncIterator[Verification]:
        """What becomes of each support, the plainest first: one query, one with what others found, several together."""
        for source in sources:
            for way in self._ways(task, gold, answer, source):
                yield await replays.of_one(source, way)
        for one in dependent(gold, answer, task.question, sources):
            yield await replays.of_bound(*one)
        for composition in composed(gold, sources):
            yield await replays.of_several(composition)

    def _ways(self, task: Task, gold: GoldAnswer, answer: str, source: Found) -> Iterator[Way]:
        """How the answer may follow from one query. Whether its rows are the gold is worked out once for a group."""
        key, rows = (task.task_id, source.sql), source.result.rows
        if key not in self._plain:
            self._plain[key] = plain_way(gold, rows)
        plain = self._plain[key]
        yield from (plain,) if plain is not None else other_ways(gold, answer, task.question, rows)

    def _spelt(self, database: str, source: Found) -> Found:
        """The statement as it was spelt when it was first seen: the samples of a group differ in such things."""
        sql = self._spelling.setdefault((database, source.result.facts.tree), source.sql.strip())
        return source if sql == source.sql else source.model_copy(update={"sql": sql})

    def _variants(self, database: str) -> DatabaseVariants | None:
        if database not in self._archives:
            return None
        if database not in self._opened:
            self._opened[database] = unpack(*self._archives[database], self._cache)
        return self._opened[database]


def _latest(found: Sequence[Found]) -> list[Found]:
    """The last different statements that read tables and gave whole, lasting results; the latest first."""
    kept: dict[str, Found] = {}
    for source in reversed(found):
        facts = source.result.facts
        usable = facts.tables and not facts.volatile and not source.result.truncated
        if usable and facts.tree not in kept:
            kept[facts.tree] = source
    return list(kept.values())[:STATEMENTS]


def _mark(answer: str) -> str:
    return hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
