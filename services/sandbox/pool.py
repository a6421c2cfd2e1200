"""Runs statements in a small pool of children, one database a child, one statement at a time in each.

Invariant: a statement never sees another's state (children only read), and a broken child is never the agent's fault:
the statement is tried again on a new one, and only one whose child ends by itself three times is called a crash. A
child that something else kills is no crash: after ten of them it is a fault.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, TypeVar
from weakref import WeakValueDictionary

from pydantic import Field, TypeAdapter, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from services.contracts.errors import SandboxFault
from services.contracts.record import Record
from services.contracts.statements import LimitHit, QueryFacts, Refused, ResultTable, SqlError, StatementOutcome
from services.contracts.trials import Profile
from services.sandbox.cache import Key, ResultCache, is_lasting
from services.sandbox.limits import SandboxLimits
from services.sandbox.process import START_SECONDS, Child, ChildDied, ChildKilled, Zygote
from services.sandbox.turns import Turns

CRASHES = 3
KILLS = 10
SPAWNS = 3
AT_ONCE = 2
"""Children of one database that may be made to keep both cores busy; more are made only beside slow statements."""
PATIENCE_S = 0.1
"""How long a statement waits for a busy child, or for any move among its database's children, before it has another
one made. Making one takes less on a quiet machine, but it takes it from the others."""
_BROKEN = ("memory", "crash")
_OUTCOME: TypeAdapter[StatementOutcome] = TypeAdapter(StatementOutcome)


class Facts(Record):
    """A child's message on a statement that it did not run."""

    kind: Literal["facts"]
    facts: QueryFacts


class Replays(Record):
    """A child's message on a statement that it ran on several variants."""

    kind: Literal["replays"]
    outcomes: tuple[StatementOutcome, ...]


_REPLAYS: TypeAdapter[Replays | LimitHit] = TypeAdapter(Annotated[Replays | LimitHit, Field(discriminator="kind")])
_FACTS: TypeAdapter[Facts | Refused | SqlError | LimitHit] = TypeAdapter(
    Annotated[Facts | Refused | SqlError | LimitHit, Field(discriminator="kind")]
)
_PROFILE: TypeAdapter[Profile | Refused | SqlError | LimitHit] = TypeAdapter(
    Annotated[Profile | Refused | SqlError | LimitHit, Field(discriminator="kind")]
)
Reply = TypeVar("Reply")


class SandboxPool:
    """The sandbox of one actor. Use it from one event loop, as an async context manager."""

    def __init__(self, databases: Mapping[str, Path], limits: SandboxLimits) -> None:
        self._databases: dict[str, Path | tuple[Path, ...]] = dict(databases)
        self._limits = limits
        self._zygote = Zygote(limits)
        self._slots = Turns(limits.children)
        self._idle: list[tuple[str, Child]] = []
        self._made: Counter[str] = Counter()
        self._moves: Counter[str] = Counter()
        self._moved = asyncio.Condition()
        self._replaying: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._under_way: dict[Key, asyncio.Future[StatementOutcome | None]] = {}
        self.cache = ResultCache(limits.cache_mb * 1_000_000)
        self.respawns = 0
        self.asked = 0
        """Statements that run or wait for a child now."""

    async def __aenter__(self) -> "SandboxPool":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self) -> None:
        """Start the process that children are forked from, so that the first statement need not wait for it."""
        self._zygote.start()

    def close(self) -> None:
        """End every child."""
        for _, child in self._idle:
            child.close()
        self._idle.clear()
        self._zygote.close()

    def children(self) -> int:
        """How many children there are, busy and idle."""
        return self._made.total()

    def cpu_s(self) -> float:
        """CPU seconds of the children that are idle now."""
        return sum(child.cpu_s() for _, child in self._idle)

    async def run(self, database: str, sql: str) -> tuple[StatementOutcome, float | None]:
        """The outcome of one statement, and the seconds for which children worked on it, waiting left out.

        They are None if another run of the statement gave the outcome. Raises SandboxFault.
        """
        key = (database, sql.strip())
        kept = self.cache.get(key)
        if kept is None and key in self._under_way:
            kept = await asyncio.shield(self._under_way[key])
        return (kept, None) if kept is not None else await self._run_first(key)

    async def inspect(self, database: str, sql: str) -> QueryFacts | None:
        """What the guard learns from a statement without running it; None if it refuses. Raises SandboxFault."""
        try:
            found = await self._ask(database, {"op": "inspect", "sql": sql}, partial(_read, _FACTS), Stopwatch())
        except ChildDied:
            return None
        return found.facts if isinstance(found, Facts) else None

    async def replay(
        self, name: str, variants: Sequence[Path], sql: str, picks: Sequence[int]
    ) -> tuple[StatementOutcome, ...]:
        """The outcomes of one statement on the picked ones of several variants. Raises SandboxFault.

        `name` is that of the set of variants and of no database. The time of one statement is for all picks together.
        Who asks for a statement that is under way waits for it, and finds the outcomes that were kept.
        """
        self._databases[name] = tuple(variants)
        alone = self._replaying.setdefault((name, sql.strip()), asyncio.Lock())
        async with alone:
            return await self._replay_alone(name, sql, picks)

    async def _replay_alone(self, name: str, sql: str, picks: Sequence[int]) -> tuple[StatementOutcome, ...]:
        keys = [(f"{name}\x1f{pick}", sql.strip()) for pick in picks]
        kept = [self.cache.get(key) for key in keys]
        left = [pick for pick, outcome in zip(picks, kept, strict=True) if outcome is None]
        fresh = iter(await self._replay_fresh(name, sql, left) if left else ())
        outcomes = tuple(next(fresh) if outcome is None else outcome for outcome in kept)
        for key, before, outcome in zip(keys, kept, outcomes, strict=True):
            if before is None:
                self.cache.put(key, outcome, len(outcome.json_text) if isinstance(outcome, ResultTable) else 0)
        return outcomes

    async def _replay_fresh(self, name: str, sql: str, picks: Sequence[int]) -> tuple[StatementOutcome, ...]:
        message = {"op": "replay", "sql": sql, "picks": list(picks), "timeout_s": self._limits.statement_s}
        try:
            found = await self._ask(name, message, partial(_read, _REPLAYS), Stopwatch())
        except ChildDied:
            return (LimitHit(reason="crash", message="the replay ended the engine"),) * len(picks)
        except TimeoutError:
            return (LimitHit(reason="timeout", message="the replay ran out of time and was killed"),) * len(picks)
        return (found,) * len(picks) if isinstance(found, LimitHit) else found.outcomes

    async def profile(self, database: str, sql: str) -> Profile | Refused | SqlError | LimitHit:
        """What the engine counts when it runs a statement. Raises SandboxFault."""
        message = {"op": "profile", "sql": sql, "timeout_s": self._limits.statement_s}
        try:
            return await self._ask(database, message, partial(_read, _PROFILE), Stopwatch())
        except ChildDied:
            return LimitHit(reason="crash", message="the statement ended the engine")
        except TimeoutError:
            return LimitHit(reason="timeout", message="the statement ran out of time and was killed")

    async def _run_first(self, key: Key) -> tuple[StatementOutcome, float]:
        """Run a statement; others that ask for it meanwhile get its outcome too, if it is a lasting one."""
        shared: asyncio.Future[StatementOutcome | None] = asyncio.get_running_loop().create_future()
        self._under_way[key] = shared
        outcome: StatementOutcome | None = None
        try:
            outcome, seconds = await self._run_fresh(key)
            return outcome, seconds
        finally:
            shared.set_result(outcome if outcome is not None and is_lasting(outcome) else None)
            if self._under_way.get(key) is shared:
                del self._under_way[key]

    async def _run_fresh(self, key: Key) -> tuple[StatementOutcome, float]:
        database, sql = key
        message = {"op": "run", "sql": sql, "timeout_s": self._limits.statement_s}
        clock = Stopwatch()
        try:
            outcome, size = await self._ask(
                database, message, lambda reply: (_read(_OUTCOME, reply), len(reply)), clock
            )
        except ChildDied:
            return LimitHit(reason="crash", message="the statement ended the engine"), clock.seconds
        except TimeoutError:
            return LimitHit(reason="timeout", message="the statement ran out of time and was killed"), clock.seconds
        self.cache.put(key, outcome, size)
        return outcome, clock.seconds

    async def _ask(
        self, database: str, message: dict[str, Any], read: Callable[[bytes], Reply], clock: "Stopwatch"
    ) -> Reply:
        """What the child says. Raises ChildDied if three end by themselves, TimeoutError if one was too slow."""
        deaths: Counter[type[BaseException | None]] = Counter()

        def are_enough(state: RetryCallState) -> bool:
            deaths[type(state.outcome.exception() if state.outcome else None)] += 1
            return deaths[ChildDied] >= CRASHES or deaths[ChildKilled] >= KILLS

        async with self._turn():
            try:
                return await self._ask_once(database, message, read, clock)
            except ChildDied as death:
                deaths[type(death)] += 1
            tries = AsyncRetrying(stop=are_enough, retry=retry_if_exception_type(ChildDied), reraise=True)
            try:
                again: Reply = await tries(self._ask_once, database, message, read, clock)
            except ChildKilled as error:
                raise SandboxFault(f"{KILLS} children of {database} were killed at the same statement") from error
            return again

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self.asked += 1
        try:
            async with self._slots:
                yield
        finally:
            self.asked -= 1

    async def _ask_once(
        self, database: str, message: dict[str, Any], read: Callable[[bytes], Reply], clock: "Stopwatch"
    ) -> Reply:
        child = await self._take(database)
        try:
            with clock:
                reply = read(await child.ask(message, self._limits.statement_s + self._limits.kill_grace_s))
        except ChildDied as death:
            killed = child.was_killed()
            self._discard(database, child)
            if not killed:
                raise
            clock.forget()
            raise ChildKilled(str(death)) from death
        except BaseException:  # also a timeout or a cancellation: what the child is at is unknown
            self._discard(database, child)
            raise
        await self._give_back(database, child, reply)
        return reply

    async def _give_back(self, database: str, child: Child, reply: object) -> None:
        """Keep the child for the next statement, unless what it has left would depend on what ran before."""
        said = reply[0] if isinstance(reply, tuple) else reply
        broken = isinstance(said, LimitHit) and said.reason in _BROKEN
        if broken or child.grown_mb() > self._limits.headroom_mb / 2:
            self._discard(database, child)
        else:
            self._idle.append((database, child))
            self._moves[database] += 1
        async with self._moved:
            self._moved.notify_all()

    def _discard(self, database: str, child: Child) -> None:
        child.kill()
        self._made[database] -= 1
        self._moves[database] += 1
        self.respawns += 1

    async def _take(self, database: str) -> Child:
        """An idle child of the database, or a new one if waiting for one would keep a core idle, or would not end."""
        last = time.monotonic() + PATIENCE_S
        child = self._idle_child(database)
        moving = self._made[database] > 0
        at_once = 1 if isinstance(self._databases[database], tuple) else AT_ONCE  # variants take long to open
        while child is None and moving and (self._made[database] >= at_once or time.monotonic() < last):
            moving = await self._moves_soon(database)
            child = self._idle_child(database)
        return child or await self._make(database)

    async def _moves_soon(self, database: str) -> bool:
        """Wait until a child of the database comes back; False if none has come, been made or ended in good time."""
        before = self._moves[database]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._moved:
                await self._moved.wait_for(lambda: self._moves[database] != before)
        return self._moves[database] != before

    async def _make(self, database: str) -> Child:
        self._made[database] += 1
        self._moves[database] += 1
        self._make_room()
        tries = AsyncRetrying(
            stop=stop_after_attempt(SPAWNS), retry=retry_if_exception_type(SandboxFault), reraise=True
        )
        try:
            made: Child = await tries(self._spawn, database)
        except BaseException:  # also a cancellation: there is no child to count
            self._made[database] -= 1
            raise
        return made

    def _idle_child(self, database: str) -> Child | None:
        for name, child in list(self._idle):
            if not child.alive():  # it died idle, or its zygote did: that is no statement's crash
                self._idle.remove((name, child))
                self._discard(name, child)
            elif name == database:
                self._idle.remove((name, child))
                return child
        return None

    def _make_room(self) -> None:
        """End the child that has been idle longest if there are more than there may be."""
        if self._idle and self._made.total() > self._limits.children:
            database, child = self._idle.pop(0)
            child.kill()
            self._made[database] -= 1

    async def _spawn(self, database: str) -> Child:
        child = self._zygote.spawn(self._databases[database])
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = json.loads(await child.next_message())
        except TimeoutError as error:
            child.kill()
            raise SandboxFault(f"a sandbox child for {database} was not ready in {START_SECONDS:.0f} s") from error
        except (ChildDied, OSError) as error:
            child.kill()
            raise SandboxFault(f"a sandbox child for {database} ended before it was ready: {error}") from error
        if not ready.get("ready"):
            child.kill()
            raise SandboxFault(f"the database {database} cannot be opened: {ready.get('message')}")
        child.note_size()
        return child


class Stopwatch:
    """Adds up the seconds for which it was held, but for those that are to be forgotten."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = self._last = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._last = time.perf_counter() - self._started
        self.seconds += self._last

    def forget(self) -> None:
        """Take the last time back: it was nobody's doing."""
        self.seconds -= self._last


def _read(kinds: TypeAdapter[Reply], reply: bytes) -> Reply:
    """What a child says. Raises ChildDied if it is none of these kinds: nothing that such a child says is believed."""
    try:
        return kinds.validate_json(reply)
    except ValidationError as error:
        _raise_if_bug(reply)
        raise ChildDied("a message that is no outcome") from error


def _raise_if_bug(reply: bytes) -> None:
    try:
        found = json.loads(reply)
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict) and found.get("kind") == "bug":
        raise RuntimeError(f"a bug in the sandbox child:\n{found['trace']}")
