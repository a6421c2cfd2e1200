"""One policy call at a time: turns that episodes ask for together, or while a batch is on its way, share the next one.

Invariant: every turn that is asked for gets an action or an exception, unless its own episode stops waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.contracts.policy import AnyPolicy, AnyTurn, Decided

Act = Callable[[AnyTurn], Awaitable[Decided]]
Asked = tuple[AnyTurn, asyncio.Future[Decided]]


class PolicyBatcher:
    """Collects the turns of one pass of the event loop, or of one call's length, and hands them over as one batch."""

    def __init__(self, policy: AnyPolicy) -> None:
        self._policy = policy
        self._waiting: list[Asked] = []
        self._calls: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Turns that wait for the next call."""
        return len(self._waiting)

    async def act(self, turn: AnyTurn) -> Decided:
        """The action for one turn. Raises what the policy raises."""
        decided: asyncio.Future[Decided] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, decided))
        if self._calls is None:
            self._calls = asyncio.create_task(self._call_while_asked())
        return await decided

    async def _call_while_asked(self) -> None:
        try:
            while self._waiting:
                batch = [asked for asked in self._waiting if not asked[1].done()]
                self._waiting = []
                if batch:
                    await self._answer(batch)
        finally:
            self._calls = None
            _give_up(self._waiting)

    async def _answer(self, batch: Sequence[Asked]) -> None:
        try:
            actions = await self._decide([turn for turn, _ in batch])
        except asyncio.CancelledError:
            _give_up(batch)
            raise
        except Exception as error:  # noqa: BLE001  handed to every episode that waits, which raises it
            for _, decided in batch:
                if not decided.done():
                    decided.set_exception(error)
            return
        for (_, decided), action in zip(batch, actions, strict=True):
            if not decided.done():
                decided.set_result(action)

    async def _decide(self, turns: Sequence[AnyTurn]) -> Sequence[Decided]:
        given = self._policy.act(turns)
        actions = given if isinstance(given, list) else await given
        if len(actions) != len(turns):
            raise ValueError(f"the policy gave {len(actions)} actions for {len(turns)} turns")
        return actions


def _give_up(batch: Sequence[Asked]) -> None:
    for _, decided in batch:
        decided.cancel()
