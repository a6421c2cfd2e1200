"""The engine of a child that replays statements on several variants of one database, attached under hidden names.

Invariant: a statement sees one variant at a time, as it would see the database itself, and can name no other. Runs in
the sandbox child. Standard library and duckdb only.
"""

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

import duckdb

from services.sandbox.engine import Engine, Message, fit
from services.sandbox.guard import DATABASE, Guard, Rejection

_NAMED = re.compile(rf'(?:\b{DATABASE}\b|"{DATABASE}")(?=\s*\.)', re.IGNORECASE)
OUT_OF_TIME: Message = {"kind": "limit", "reason": "timeout", "message": "the replays ran out of time"}


class RememberingGuard(Guard):
    """Knows what it said last: the variants are asked the same one after the other."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._last: tuple[str, Message | Rejection] | None = None

    def inspect(self, sql: str) -> Message | Rejection:
        """The statement's facts, or why it must not run. Raises MemoryError."""
        if self._last is None or self._last[0] != sql:
            self._last = sql, self._guard.inspect(sql)
        return self._last[1]


class SeveralEngine(Engine):
    """Read-only variants beside each other; their schemas are the same, so that one guard judges for all."""

    def __init__(
        self,
        parser: duckdb.DuckDBPyConnection,
        blank: duckdb.DuckDBPyConnection,
        variants: Sequence[str],
        memory_mb: int,
    ) -> None:
        self._names = [f"v{secrets.token_hex(8)}" for _ in variants]
        for name, path in zip(self._names[1:], variants[1:], strict=True):
            blank.execute("ATTACH '{}' AS {} (READ_ONLY)".format(path.replace("'", "''"), name))
        super().__init__(parser, blank, variants[0], memory_mb)
        self.guard = RememberingGuard(self.guard)
        self._names[0] = DATABASE

    def replay(self, order: dict[str, Any], request: dict[str, Any]) -> list[Message]:
        """The outcome on each picked variant, in order; those that there is no time left for have run out of it."""
        last = time.monotonic() + request["timeout_s"]
        outcomes: list[Message] = []
        for pick in request["picks"]:
            if time.monotonic() >= last:
                outcomes.append(OUT_OF_TIME)
                continue
            try:
                outcomes.append(self._run_on(self._names[pick], request["sql"], order))
            except duckdb.InterruptException:  # between two statements: the watchdog's
                outcomes.append(OUT_OF_TIME)
        return outcomes

    def _run_on(self, name: str, sql: str, order: dict[str, Any]) -> Message:
        """Run the statement on one variant; where it names its database, the variant's hidden name stands for that."""
        self._connection.execute(f"USE {name}")
        facts = self.guard.inspect(sql) if name != DATABASE and _NAMED.search(sql) else None
        if isinstance(facts, dict):
            renamed = _NAMED.sub(name, sql)
            try:
                names, types, rows, more = self._execute(renamed, order["max_rows"], facts)
            except (
                duckdb.Error,
                ValueError,
                OverflowError,
            ):  # then it was an alias, or the statement fails as it stands too
                return self.run(sql, order["max_rows"], order["max_bytes"])
            return _table(names, types, rows, more, facts, order["max_bytes"])
        return self.run(sql, order["max_rows"], order["max_bytes"])


def _table(
    names: list[str], types: list[str], rows: list[list[object]], more: bool, facts: Message, max_bytes: int
) -> Message:
    encoded, cut = fit(rows, max_bytes)
    table = {"kind": "rows", "columns": names, "types": types, "truncated": more or cut, "facts": facts}
    return {**table, "rows": encoded or []}
