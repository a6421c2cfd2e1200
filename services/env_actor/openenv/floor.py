"""Who plays what: a seat for each connection, the episodes at the seats, and those whose connection is gone.

Invariant: a seat is free the moment its connection is; an episode is at one seat at most, takes one step at a time,
and outlives its connection for `idle_s`, so that whoever knows its id goes on with it.
"""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from openenv.core.env_server.types import Observation, WSErrorCode
from pydantic import Field

from services.contracts.errors import AssayError
from services.contracts.record import Record
from services.env_actor.openenv.figures import FloorFigures
from services.env_actor.openenv.stage import Asked, Play, Refusal, Stage, begin


class FloorLimits(Record):
    """How many may play at once, and for how long nobody need say anything."""

    sessions: int = Field(default=256, ge=1, description="connections at once, over all environments")
    idle_s: float = Field(default=600.0, gt=0, description="seconds of silence after which a seat is freed")
    parked: int = Field(default=512, ge=0, description="episodes kept for those who reconnect")


@dataclass(eq=False)
class Held:
    """An episode on the floor."""

    stage: Stage
    episode_id: str
    play: Play
    seat: "Seat | None" = None
    left_at: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(eq=False)
class Seat:
    """One connection's place. `evict` is called when another connection takes its episode over."""

    evict: Callable[[], None]
    held: Held | None = None


Key = tuple[str, str]


class Floor:
    """The seats and episodes of one server, for use from one event loop."""

    def __init__(self, limits: FloorLimits, figures: FloorFigures, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.figures = figures
        self._clock = clock
        self._seats: set[Seat] = set()
        self._seated: dict[Key, Held] = {}
        self._parked: OrderedDict[Key, Held] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        figures.watch(lambda: len(self._seats), lambda: len(self._parked))

    @property
    def seats_taken(self) -> int:
        """Connections that hold a seat."""
        return len(self._seats)

    def is_seated(self, stage: str, episode_id: str) -> bool:
        """Whether a connection plays the episode now."""
        return (stage, episode_id) in self._seated

    def sit(self, evict: Callable[[], None]) -> Seat:
        """A seat for a connection. Raises Refusal if all are taken."""
        if len(self._seats) >= self.limits.sessions:
            self.figures.refused.inc()
            raise Refusal(WSErrorCode.CAPACITY_REACHED, 503, f"all {self.limits.sessions} sessions are taken")
        seat = Seat(evict)
        self._seats.add(seat)
        return seat

    def rise(self, seat: Seat, said_goodbye: bool) -> None:
        """Free the seat. Its episode waits for a reconnection, unless it is over and its end was heard."""
        if seat not in self._seats:
            return
        self._seats.discard(seat)
        held, seat.held = seat.held, None
        if held is not None:
            self._unseat(held)
            held.play.release()
            if not (said_goodbye and held.play.over):
                self._park(held)

    def reset(self, seat: Seat, stage: Stage, asked: Asked) -> Observation:
        """Begin an episode at a seat, or go on with the one that is asked for by its id. Raises Refusal."""
        self._sweep()
        if asked.episode_id:
            known = self._known(stage, asked.episode_id)
            if known is not None and known is not seat.held and _may_resume(known, asked):
                return self._resume(seat, known)
        held = Held(stage, asked.episode_id or uuid.uuid4().hex, begin(stage, asked))
        self._forget(seat)
        self._drop((stage.name, held.episode_id))
        self._seat(seat, held)
        self.figures.begun(stage.name)
        return told(held)

    def resume(self, seat: Seat, stage: Stage, episode_id: str) -> Observation:
        """Go on with an episode at a seat. Raises Refusal if nobody knows it."""
        self._sweep()
        known = self._known(stage, episode_id)
        if known is None:
            raise Refusal(WSErrorCode.SESSION_ERROR, 404, "no such episode: it was never begun, or nobody came for it")
        return self._resume(seat, known)

    def open(self, stage: Stage, asked: Asked) -> Held:
        """Begin an episode without a seat, as over HTTP: it is kept as long as a parked one. Raises Refusal."""
        self._sweep()
        if asked.episode_id and (stage.name, asked.episode_id) in self._seated:
            raise Refusal(WSErrorCode.SESSION_ERROR, 409, "a connection plays the episode of that id")
        held = Held(stage, asked.episode_id or uuid.uuid4().hex, begin(stage, asked))
        self._drop((stage.name, held.episode_id))
        self._park(held)
        self.figures.begun(stage.name)
        return held

    def find(self, stage: Stage, episode_id: str) -> Held:
        """An episode without a seat. Raises Refusal."""
        self._sweep()
        held = self._known(stage, episode_id)
        if held is None:
            raise Refusal(WSErrorCode.SESSION_ERROR, 404, "no such episode: reset first")
        if held.seat is not None:
            raise Refusal(WSErrorCode.SESSION_ERROR, 409, "a connection plays this episode")
        self._park(held)
        return held

    async def step(self, held: Held, action: Any) -> Observation:
        """Take one action, after those that were asked for before it. Raises Refusal."""
        async with held.turn:
            if held.play.over:
                raise Refusal(WSErrorCode.EXECUTION_ERROR, 409, "the episode is over: reset first")
            started = time.perf_counter()
            try:
                await held.play.step(action)
            except AssayError as error:
                self.figures.faults.labels(held.stage.name).inc()
                message = f"a fault of the machine, nothing was taken, send it again: {error}"
                raise Refusal(WSErrorCode.EXECUTION_ERROR, 503, message) from error
            self.figures.stepped(held.stage.name, time.perf_counter() - started, held.play.verdict)
            return told(held)

    @asynccontextmanager
    async def open_for_threads(self) -> AsyncIterator[None]:
        """Let `run` use the loop of the server."""
        self._loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            self._loop = None

    def run(self, work: Coroutine[Any, Any, Observation]) -> Observation:
        """Do on the server's loop what another thread asks for. Raises what the work raises."""
        if self._loop is None:
            work.close()
            raise RuntimeError("the server does not run")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _resume(self, seat: Seat, held: Held) -> Observation:
        other = held.seat
        if other is not None and other is not seat:
            other.held = None
            self._unseat(held)
            other.evict()
        if seat.held is not held:
            self._forget(seat)
        self._parked.pop((held.stage.name, held.episode_id), None)
        self._seat(seat, held)
        self.figures.resumed.labels(held.stage.name).inc()
        return told(held, resumed=True)

    def _known(self, stage: Stage, episode_id: str) -> Held | None:
        key = (stage.name, episode_id)
        return self._seated.get(key) or self._parked.get(key)

    def _seat(self, seat: Seat, held: Held) -> None:
        seat.held, held.seat = held, seat
        self._seated[held.stage.name, held.episode_id] = held

    def _unseat(self, held: Held) -> None:
        held.seat = None
        del self._seated[held.stage.name, held.episode_id]

    def _forget(self, seat: Seat) -> None:
        """Give up the seat's episode for a new one."""
        if seat.held is not None:
            self._unseat(seat.held)
            seat.held.play.release()
            seat.held = None

    def _park(self, held: Held) -> None:
        key = (held.stage.name, held.episode_id)
        held.left_at = self._clock()
        self._parked[key] = held
        self._parked.move_to_end(key)
        while len(self._parked) > self.limits.parked:
            self._drop(next(iter(self._parked)))

    def _drop(self, key: Key) -> None:
        """Forget a parked episode, if there is one."""
        held = self._parked.pop(key, None)
        if held is not None:
            held.play.release()

    def _sweep(self) -> None:
        """Forget the parked episodes that nobody came for; the oldest are first."""
        before = self._clock() - self.limits.idle_s
        while self._parked and next(iter(self._parked.values())).left_at < before:
            self._drop(next(iter(self._parked)))


def told(held: Held, resumed: bool = False) -> Observation:
    """What is shown of an episode now, with its id beside it."""
    latest = held.play.latest
    latest.metadata["episode_id"] = held.episode_id
    if resumed:
        return latest.model_copy(update={"metadata": {**latest.metadata, "resumed": True}})
    return latest


def _may_resume(held: Held, asked: Asked) -> bool:
    """Whether a reset means this episode. Raises Refusal if the id is taken by one that it cannot mean."""
    same = asked.task_id in (None, held.play.task_id) and asked.seed in (None, held.play.seed)
    if not same and held.seat is not None:
        raise Refusal(WSErrorCode.SESSION_ERROR, 409, "another connection plays another episode of that id")
    return same
