"""Runs statements in a small pool of children, one database a child, one statement at a time in each.

Invariant: a statement never sees another's state (children only read), and a broken child is never the agent's fault:
the statement is tried again on a new one, and only a statement that ends three children is called a crash.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from services.contracts.errors import SandboxFault
from services.contracts.statements import LimitHit, QueryFacts, StatementOutcome
from services.sandbox.cache import ResultCache
from services.sandbox.limits import SandboxLimits
from services.sandbox.process import START_SECONDS, Child, ChildDied, Zygote

CRASHES = 3
_BROKEN = ("memory", "crash")
_OUTCOME: TypeAdapter[StatementOutcome] = TypeAdapter(StatementOutcome)


class SandboxPool:
    """The sandbox of one actor. Use it from one event loop, as an async context manager."""

    def __init__(self, databases: Mapping[str, Path], limits: SandboxLimits) -> None:
        self._databases = databases
        self._limits = limits
        self._zygote = Zygote(limits)
        self._slots = asyncio.Semaphore(limits.children)
        self._idle: list[tuple[str | None, Child]] = []
        self._running = 0
        self.cache = ResultCache(limits.cache_mb * 1_000_000)
        self.respawns = 0

    async def __aenter__(self) -> "SandboxPool":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every child."""
        for _, child in self._idle:
            child.close()
        self._idle.clear()
        self._zygote.close()

    async def run(self, database: str, sql: str) -> tuple[StatementOutcome, bool]:
        """The outcome of one statement, and whether it came from the cache. Raises SandboxFault."""
        key = (database, sql)
        kept = self.cache.get(key)
        if kept is not None:
            return kept, True
        try:
            reply, size = await self._ask(database, {"op": "run", "sql": sql, "timeout_s": self._limits.statement_s})
        except ChildDied:
            return LimitHit(reason="crash", message="the statement ended the engine"), False
        outcome = _OUTCOME.validate_python(reply)
        self.cache.put(key, outcome, size)
        return outcome, False

    async def inspect(self, database: str, sql: str) -> QueryFacts | None:
        """What the guard learns from a statement without running it; None if it refuses. Raises SandboxFault."""
        try:
            reply, _ = await self._ask(database, {"op": "inspect", "sql": sql})
        except ChildDied:
            return None
        return QueryFacts.model_validate(reply["facts"]) if reply["kind"] == "facts" else None

    async def _ask(self, database: str, message: dict[str, Any]) -> tuple[dict[str, Any], int]:
        tries = AsyncRetrying(stop=stop_after_attempt(CRASHES), retry=retry_if_exception_type(ChildDied), reraise=True)
        async with self._slots:
            reply: tuple[dict[str, Any], int] = await tries(self._ask_once, database, message)
            return reply

    async def _ask_once(self, database: str, message: dict[str, Any]) -> tuple[dict[str, Any], int]:
        child = self._take_idle(database) or await self._spawn(database)
        try:
            reply = await child.ask(message, self._limits.statement_s + self._limits.kill_grace_s)
        except TimeoutError:
            self._discard(child)
            limit = {"kind": "limit", "reason": "timeout", "message": "the statement ran out of time and was killed"}
            return limit, 0
        except BaseException:  # also cancellation: what the child is at is unknown
            self._discard(child)
            raise
        if reply[0].get("kind") == "limit" and reply[0]["reason"] in _BROKEN:
            self._discard(child)  # what it has left of memory or of its engine would depend on what ran before
        else:
            self._idle.append((database, child))
        return reply

    def _discard(self, child: Child) -> None:
        child.kill()
        self.respawns += 1

    def _take_idle(self, database: str) -> Child | None:
        for name, child in list(self._idle):
            if not child.alive():  # it died idle, or its zygote did: that is no statement's crash
                self._idle.remove((name, child))
                self._discard(child)
            elif name == database:
                self._idle.remove((name, child))
                return child
        in_use = self._limits.children - self._slots._value
        if self._idle and len(self._idle) + in_use > self._limits.children:
            self._idle.pop(0)[1].kill()
        return None

    async def _spawn(self, database: str) -> Child:
        child = self._zygote.spawn(self._databases[database])
        try:
            async with asyncio.timeout(START_SECONDS):
                ready, _ = await child.next_message()
        except TimeoutError as error:
            child.kill()
            raise SandboxFault(f"a sandbox child for {database} was not ready in {START_SECONDS:.0f} s") from error
        except (ChildDied, OSError) as error:
            child.kill()
            raise SandboxFault(f"a sandbox child for {database} ended before it was ready: {error}") from error
        if not ready.get("ready"):
            child.kill()
            raise SandboxFault(f"the database {database} cannot be opened: {ready.get('message')}")
        return child
