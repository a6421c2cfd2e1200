"""A policy behind a Ray Serve app of the same cluster."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from tenacity import AsyncRetrying, retry_if_exception_type, wait_fixed

from services.contracts.errors import AssayError, PolicyFault
from services.contracts.policy import AnyTurn, Decided

PATIENCE_S = 60.0
PAUSE_S = 0.2


class HandlePolicy:
    """A policy of a Serve app on the same Ray cluster: one call a batch.

    A call that a dying replica took along, or that found the queue full, is made again, and waits in the handle until a
    replica is there.
    """

    def __init__(self, app: str, model: str, patience_s: float = PATIENCE_S) -> None:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # or each actor tells of its router on the terminal
        self._act: Any = serve.get_app_handle(app).act
        self._model = model
        self._patience_s = patience_s

    async def act(self, turns: Sequence[AnyTurn]) -> list[Decided]:
        """One action a turn, in order. Raises PolicyFault if no replica answers in time."""
        lost = retry_if_exception_type((RayActorError, RayServeException))
        try:
            async with asyncio.timeout(self._patience_s):
                actions: list[Decided] = await AsyncRetrying(wait=wait_fixed(PAUSE_S), retry=lost)(self._ask, turns)
        except TimeoutError as error:
            raise PolicyFault(f"no replica of {self._model} answered in {self._patience_s:.0f} s") from error
        return actions

    async def aclose(self) -> None:
        """End what tells Serve of this caller's requests; it would outlive Ray in a process that goes on without it."""
        await self._act.shutdown_async()

    async def _ask(self, turns: Sequence[AnyTurn]) -> Any:
        try:
            return await self._act.remote(self._model, turns)
        except RayTaskError as error:
            if isinstance(error.cause, AssayError):
                raise error.cause from error
            raise
