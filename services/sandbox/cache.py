"""Outcomes of statements that gave the same bytes whenever they run: a database in a task set never changes."""

from collections import OrderedDict

from services.contracts.statements import LimitHit, ResultTable, StatementOutcome

Key = tuple[str | None, str]
_OVERHEAD = 1_000


class ResultCache:
    """Least recently used outcomes, bounded by their bytes. Volatile results and hit limits are never kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[StatementOutcome, int]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: Key) -> StatementOutcome | None:
        """The outcome of that statement on that database, if it is kept."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Key, outcome: StatementOutcome, size: int) -> None:
        """Keep the outcome, `size` bytes on the wire, if it may be kept at all."""
        if isinstance(outcome, LimitHit) or (isinstance(outcome, ResultTable) and outcome.facts.volatile):
            return
        size += _OVERHEAD + len(key[1])
        if size > self._max_bytes // 4 or key in self._entries:
            return
        self._entries[key] = (outcome, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._bytes -= self._entries.popitem(last=False)[1][1]
