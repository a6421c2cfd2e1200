"""A participant of an assessment: a remote policy with a time limit a turn, and an end to patience.

Invariant: whatever a participant does, `act` returns an action or raises PolicyFault within the time limit of a turn.
"""

import asyncio

from cluster.green.request import AssessmentRequest
from services.contracts.errors import AssayError, PolicyFault
from services.contracts.policy import AnyTurn, AsyncPolicy, Decided

GIVE_UP = 3
"""Turns in a row without an answer after which a participant is asked no more."""


class Participant:
    """One remote policy under assessment."""

    def __init__(self, role: str, policy: AsyncPolicy, turn_timeout_s: float) -> None:
        self.role = role
        self._policy = policy
        self._turn_timeout_s = turn_timeout_s
        self._silent = 0

    async def act(self, turn: AnyTurn) -> Decided:
        """The participant's action. Raises PolicyFault."""
        if self._silent >= GIVE_UP:
            raise PolicyFault(f"{self.role} left {GIVE_UP} turns in a row without an answer and is asked no more")
        try:
            async with asyncio.timeout(self._turn_timeout_s):
                (action,) = await self._policy.act([turn])
        except TimeoutError as error:
            self._silent += 1
            raise PolicyFault(f"{self.role} did not answer within {self._turn_timeout_s:g} s") from error
        except AssayError as error:
            self._silent += 1
            raise PolicyFault(f"{self.role}: {error}") from error
        self._silent = 0
        return action


def participants_of(request: AssessmentRequest) -> dict[str, Participant]:
    """Every participant by its role: an OpenAI-compatible model if the config names one, else an A2A agent."""
    return {role: _participant(role, str(url), request) for role, url in request.participants.items()}


def _participant(role: str, url: str, request: AssessmentRequest) -> Participant:
    config = request.config
    model = config.models.get(role)
    return Participant(role, _agent(url, config.turn_timeout_s, model), config.turn_timeout_s)


def _agent(url: str, timeout_s: float, model: str | None) -> AsyncPolicy:
    if model is not None:
        from services.policy.remote import OpenAIPolicy

        return OpenAIPolicy(url, model, timeout_s=timeout_s)
    from services.policy.agent import A2APolicy

    return A2APolicy(url, timeout_s)
