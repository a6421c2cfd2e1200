"""The answer grader of one task set."""

from collections.abc import Mapping
from pathlib import Path

from services.contracts.statements import ResultTable
from services.grader.answers import is_correct
from services.grader.gold import GoldAnswer, read_gold
from services.grader.progress import progress


class GoldGrader:
    """Judges by the gold answers it was given (protocol: services.contracts.grading.AnswerGrader)."""

    def __init__(self, golds: Mapping[str, GoldAnswer]) -> None:
        self._golds = golds

    @classmethod
    def read(cls, path: Path) -> "GoldGrader":
        """The grader of a gold.jsonl. Raises BadInput."""
        return cls(read_gold(path))

    def is_correct(self, task_id: str, answer: str) -> bool:
        """Whether a submitted answer equals the gold."""
        return is_correct(self._golds[task_id], answer)

    def progress(self, task_id: str, result: ResultTable) -> float:
        """How near a result is to the gold, in [0, 1]."""
        return progress(self._golds[task_id], result)
