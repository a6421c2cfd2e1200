"""So many statements at once; those that wait are let in by turns, one of each task, so that no task holds up the rest.

Invariant: no place is free while somebody waits, and within a task who came first is served first.
"""

import asyncio
from collections import OrderedDict, deque
from contextvars import ContextVar
from types import TracebackType

WHOSE: ContextVar[str] = ContextVar("whose", default="")
"""The task for which the running coroutine works; whoever drives an episode sets it."""


class Turns:
    """Places, as an async context manager: leaving one hands it to the next task in turn."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def __aenter__(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        whose = WHOSE.get()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """Give the place to the next that still waits, if there is one."""
        while self._waiting:
            whose, queue = self._waiting.popitem(last=False)
            place = queue.popleft()
            if queue:
                self._waiting[whose] = queue
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
