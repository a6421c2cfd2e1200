"""Outcomes of statements that gave the same bytes whenever they run: a database in a task set never changes."""

from cachetools import LRUCache

from services.contracts.statements import LimitHit, ResultTable, StatementOutcome

Key = tuple[str, str]
"""Database and statement; a pool has one set of caps."""
_OVERHEAD = 1_000
_CELL = 80
"""Bytes of a small Python object in a list: what a cell takes in memory beside its text."""


def is_lasting(outcome: StatementOutcome) -> bool:
    """Whether the outcome says something of the statement alone: no limit was hit, nothing in it is volatile."""
    return not isinstance(outcome, LimitHit) and not (isinstance(outcome, ResultTable) and outcome.facts.volatile)


class ResultCache:
    """Least recently used outcomes, bounded by the memory that they take. Keeps lasting ones only."""

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[Key, tuple[StatementOutcome, int]] = LRUCache(max_bytes, getsizeof=lambda entry: entry[1])
        self.hits = 0
        self.misses = 0

    def get(self, key: Key) -> StatementOutcome | None:
        """The outcome of that statement on that database, if it is kept."""
        entry = self._kept.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        return entry[0]

    def put(self, key: Key, outcome: StatementOutcome, size: int) -> None:
        """Keep the outcome, `size` bytes as JSON, if it may be kept at all and is not a quarter of the whole."""
        cells = len(outcome.rows) * len(outcome.columns) if isinstance(outcome, ResultTable) else 0
        size = 2 * size + _CELL * cells + _OVERHEAD + len(key[1])
        if is_lasting(outcome) and size <= self._kept.maxsize // 4:
            self._kept[key] = outcome, size
