"""The grader of one task set: of answers and results, and of the analyst's statements."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from cachetools import LRUCache, cachedmethod

from services.contracts.statements import ResultTable, StatementOutcome
from services.contracts.trials import Trial, TrialOrder
from services.grader.analyst.scoring import orders_for, score_of
from services.grader.answers import is_correct
from services.grader.gold import GoldAnswer, read_gold
from services.grader.progress import Yardstick
from services.grader.structure import likeness, structure_of

KEPT = 20_000
"""Judgements kept for the samples of a group, which say the same things: some 4 MB."""

YARDSTICKS_KEPT = 256
ORDERS_KEPT = 1_000


class GoldGrader:
    """Judges by the gold answers it was given (protocol: services.contracts.grading.Grader)."""

    def __init__(self, golds: Mapping[str, GoldAnswer]) -> None:
        self._golds = golds
        self._judged: LRUCache[tuple[str, bytes], bool] = LRUCache(KEPT)
        self._likened: LRUCache[tuple[str, bytes], float] = LRUCache(KEPT)
        self._yardsticks: LRUCache[str, Yardstick] = LRUCache(YARDSTICKS_KEPT)
        self._ordered: LRUCache[tuple[str, str, bytes], tuple[TrialOrder, ...]] = LRUCache(ORDERS_KEPT)
        self._measured: LRUCache[tuple[str, bytes], float] = LRUCache(KEPT)

    @classmethod
    def read(cls, path: Path) -> "GoldGrader":
        """The grader of a gold.jsonl. Raises BadInput."""
        return cls(read_gold(path))

    @cachedmethod(lambda self: self._judged, key=lambda self, task_id, answer: (task_id, _digest(answer)))
    def is_correct(self, task_id: str, answer: str) -> bool:
        """Whether a submitted answer equals the gold."""
        return is_correct(self._golds[task_id], answer)

    @cachedmethod(lambda self: self._measured, key=lambda self, task_id, result: (task_id, result.digest))
    def progress(self, task_id: str, result: ResultTable) -> float:
        """How near a result is to the gold, in [0, 1]."""
        return self._yardstick(task_id).progress(result)

    @cachedmethod(lambda self: self._likened, key=lambda self, task_id, sql: (task_id, _digest(sql)))
    def likeness(self, task_id: str, sql: str) -> float:
        """How far a statement reads, joins and aggregates what the gold does, in [0, 1]."""
        return likeness(structure_of(sql), structure_of(self._golds[task_id].gold_sql))

    def orders(self, task_id: str, sql: str, outcome: StatementOutcome) -> tuple[TrialOrder, ...]:
        """What has to be tried before the statement can be scored."""
        return self._orders(task_id, sql, outcome) if isinstance(outcome, ResultTable) else ()

    @cachedmethod(lambda self: self._ordered, key=lambda self, task_id, sql, result: (task_id, sql, result.digest))
    def _orders(self, task_id: str, sql: str, result: ResultTable) -> tuple[TrialOrder, ...]:
        return orders_for(self._golds[task_id], sql, result)

    def score(self, task_id: str, sql: str, outcome: StatementOutcome, trials: Sequence[Trial]) -> float:
        """The score in [0, 1]. Raises BadInput if another engine counted its cost than the gold's."""
        return score_of(self._golds[task_id], outcome, trials) if isinstance(outcome, ResultTable) else 0.0

    @cachedmethod(lambda self: self._yardsticks)
    def _yardstick(self, task_id: str) -> Yardstick:
        return Yardstick(self._golds[task_id])


def _digest(answer: str) -> bytes:
    return hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=16).digest()
