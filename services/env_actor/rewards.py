"""The three layers of reward, and the running clamp under which they are paid (sqlenv-v1-spec §3).

Where §3.1's numbers would let §3.6's intent fail, the intent wins: exec_ok is for the first ten queries that differ in
more than their constants and show something new; a query that reads no base table, or outputs constants only, earns
neither exec_ok nor progress. docs/rewards.md tells the whole of it.
"""

from collections.abc import Iterable

from cachetools import LRUCache, cached

from services.contracts.grading import RewardComponents
from services.contracts.statements import ResultTable
from services.env_actor.render import ROWS_SHOWN

EXEC_OK = 0.02
EXEC_OK_QUERIES = 10
NEW_INFO = 0.01
NEW_INFO_CAP = 0.10
REPEAT = -0.01
COST = -0.005
PROGRESS = 0.15
PROGRESS_BINS = 4
CORRECT = 1.0
FLOOR, CEILING = -0.2, 0.5
MARKS_KEPT = 4_096


def binned(progress: float) -> float:
    """Progress to the nearest of {0, 0.25, 0.5, 0.75, 1}."""
    return round(max(0.0, min(1.0, progress)) * PROGRESS_BINS) / PROGRESS_BINS


def clamped(shaping: float) -> float:
    """The sum of the step rewards as it is paid (§3.4)."""
    return max(FLOOR, min(CEILING, shaping))


class RewardLedger:
    """The rewards of one episode so far. Each step is paid the difference of the clamped running sums."""

    def __init__(self, structure: float = 0.0) -> None:
        self._structure = structure
        self._best_likeness = 0.0
        self._shaping = 0.0
        self._paid_queries = 0
        self._new_info = 0.0
        self._best_progress = 0.0
        self._done: set[str] = set()
        self._skeletons: set[str] = set()
        self._seen_columns: set[tuple[str, str]] = set()
        self._shown: set[int] = set()

    def mistake(self) -> RewardComponents:
        """A step that came to nothing: malformed, refused, failed, or over a limit."""
        return RewardComponents(cost=COST)

    def look(self, kind: str, table: str, columns: Iterable[str]) -> RewardComponents:
        """A DESCRIBE or SAMPLE of a table that exists. Names in lower case."""
        mark = f"{kind} {table}"
        if mark in self._done:
            return RewardComponents(cost=COST, repeat=REPEAT)
        self._done.add(mark)
        news = {(table, column) for column in columns}
        return RewardComponents(cost=COST, new_info=self._info(news, always=kind == "DESCRIBE"))

    def query(self, result: ResultTable, progress: float, likeness: float = 0.0) -> RewardComponents:
        """A QUERY that gave rows; `progress` and `likeness` as the grader measured them, not yet binned."""
        facts = result.facts
        mark = f"QUERY {facts.tree}"
        repeated = mark in self._done
        self._done.add(mark)
        earns = bool(facts.tables) and facts.from_data and not repeated
        fresh = self._shows_news(result) and facts.skeleton not in self._skeletons
        self._skeletons.add(facts.skeleton)
        paid = earns and fresh and self._paid_queries < EXEC_OK_QUERIES
        self._paid_queries += paid
        return RewardComponents(
            cost=COST,
            repeat=REPEAT if repeated else 0.0,
            exec_ok=EXEC_OK if paid else 0.0,
            new_info=self._info(set(facts.columns), always=False) if earns else 0.0,
            progress=self._improvement(binned(progress)) if earns else 0.0,
            structure=self._nearer(binned(likeness)) if earns else 0.0,
        )

    def answer(self, correct: bool) -> RewardComponents:
        """The ANSWER: no cost, no partial credit (§3.3)."""
        return RewardComponents(correctness=CORRECT if correct else 0.0)

    def pay(self, components: RewardComponents) -> float:
        """The reward of the step; over an episode these add up to R_episode (§3.4)."""
        before = clamped(self._shaping)
        self._shaping += components.shaping()
        return clamped(self._shaping) - before + components.correctness

    def _info(self, columns: set[tuple[str, str]], always: bool) -> float:
        news = not columns <= self._seen_columns
        self._seen_columns |= columns
        if not (news or always) or self._new_info >= NEW_INFO_CAP - 1e-9:
            return 0.0
        self._new_info += NEW_INFO
        return NEW_INFO

    def _shows_news(self, result: ResultTable) -> bool:
        """Whether one of the columns shown holds values that no earlier result showed; no rows are news once."""
        marks = _column_marks(result)
        news = not marks <= self._shown
        self._shown |= marks
        return news

    def _improvement(self, progress: float) -> float:
        gain = max(0.0, progress - self._best_progress)
        self._best_progress = max(self._best_progress, progress)
        return gain * PROGRESS

    def _nearer(self, likeness: float) -> float:
        gain = max(0.0, likeness - self._best_likeness)
        self._best_likeness = max(self._best_likeness, likeness)
        return gain * self._structure


@cached(LRUCache(MARKS_KEPT), key=lambda result: result.digest)
def _column_marks(result: ResultTable) -> frozenset[int]:
    """A mark for each column shown: the values in it, whatever their order and the column's name."""
    shown = list(zip(*result.rows[:ROWS_SHOWN], strict=True)) or [()]
    return frozenset(hash(tuple(sorted(map(repr, column)))) for column in shown)
