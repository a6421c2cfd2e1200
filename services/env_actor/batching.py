"""One policy call a tick: the turns that episodes ask for at the same time are answered together."""

import asyncio

from services.contracts.actions import ExploreAction
from services.contracts.policy import Policy, Turn


class PolicyBatcher:
    """Collects the turns of one pass of the event loop and hands them to the policy as one batch."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._waiting: list[tuple[Turn, asyncio.Future[ExploreAction]]] = []

    async def act(self, turn: Turn) -> ExploreAction:
        """The action for one turn. Raises what the policy raises."""
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[ExploreAction] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((turn, decided))
        return await decided

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            actions = self._policy.act([turn for turn, _ in batch])
        except Exception as error:  # noqa: BLE001  handed to every episode that waits, which raises it
            for _, decided in batch:
                if not decided.done():
                    decided.set_exception(error)
            return
        for (_, decided), action in zip(batch, actions, strict=True):
            if not decided.done():
                decided.set_result(action)
