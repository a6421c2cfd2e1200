"""Verification of an answer: right on the database, and its own queries right on every variant of it.

Invariant: only replays of the agent's statements decide; what the variants hold never leaves the grader.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from cachetools import LRUCache

from services.contracts.grading import AnswerGrader, Found, Verification
from services.contracts.tasks import Task
from services.grader.gold import GoldAnswer
from services.grader.variants.composing import composed, dependent
from services.grader.variants.library import DatabaseVariants, unpack
from services.grader.variants.replays import Judged, Replayer, Replays
from services.grader.variants.support import ways

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
        async for one in _supports(replays, task, gold, answer, sources):
            if one.verdict == "correct":
                return one
            tried.append(one)
        limited = [one for one in tried if one.limits]
        return next(iter((*limited, *tried)), Verification(verdict="unsupported"))

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


async def _supports(
    replays: Replays, task: Task, gold: GoldAnswer, answer: str, sources: Sequence[Found]
) -> AsyncIterator[Verification]:
    """What becomes of each support, the plainest first: one query, one with what others found, several together."""
    for source in sources:
        for way in ways(gold, answer, task.question, source.result.rows):
            yield await replays.of_one(source, way)
    for one in dependent(gold, answer, task.question, sources):
        yield await replays.of_bound(*one)
    for composition in composed(gold, sources):
        yield await replays.of_several(composition)


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
