"""The answer grader of one task set."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from cachetools import LRUCache, cachedmethod

from services.contracts.statements import ResultTable
from services.grader.answers import is_correct
from services.grader.gold import GoldAnswer, read_gold
from services.grader.progress import Yardstick

KEPT = 20_000
"""Judgements kept for the samples of a group, which say the same things: some 4 MB."""

YARDSTICKS_KEPT = 256


class GoldGrader:
    """Judges by the gold answers it was given (protocol: services.contracts.grading.AnswerGrader)."""

    def __init__(self, golds: Mapping[str, GoldAnswer]) -> None:
        self._golds = golds
        self._judged: LRUCache[tuple[str, bytes], bool] = LRUCache(KEPT)
        self._yardsticks: LRUCache[str, Yardstick] = LRUCache(YARDSTICKS_KEPT)
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

    @cachedmethod(lambda self: self._yardsticks)
    def _yardstick(self, task_id: str) -> Yardstick:
        return Yardstick(self._golds[task_id])


def _digest(answer: str) -> bytes:
    return hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=16).digest()
