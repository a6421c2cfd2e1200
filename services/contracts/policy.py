"""What acts. A policy keeps nothing between calls: all it knows is in the turn, so any replica can take any turn."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pydantic import Field

from services.contracts.actions import Action, AnalystAction, ExploreAction
from services.contracts.errors import BadInput
from services.contracts.observation import AnyObservation, Observation, SQLObservation
from services.contracts.record import Record

MILLION = 1e6


class Exchange(Record):
    """An action and the observation that followed it."""

    action: ExploreAction
    observation: Observation


class Turn(Record):
    """One decision to take: the episode so far. Only `first` and `history` are for the agent's eyes."""

    task_id: str
    seed: int
    first: Observation
    history: tuple[Exchange, ...]

    @property
    def observation(self) -> Observation:
        """What the agent sees now."""
        return self.history[-1].observation if self.history else self.first

    def then(self, action: Action, observation: AnyObservation) -> "Turn":
        """The next decision, after an action of this environment and what it showed."""
        exchange = Exchange.model_validate({"action": action, "observation": observation})
        return self.model_copy(update={"history": (*self.history, exchange)})


class AnalystExchange(Record):
    """An action of the analyst's and the observation that followed it."""

    action: AnalystAction
    observation: SQLObservation


class AnalystTurn(Record):
    """One decision of the analyst's to take: the same shape as Turn, with its own action and observation."""

    task_id: str
    seed: int
    first: SQLObservation
    history: tuple[AnalystExchange, ...]

    @property
    def observation(self) -> SQLObservation:
        """What the agent sees now."""
        return self.history[-1].observation if self.history else self.first

    def then(self, action: Action, observation: AnyObservation) -> "AnalystTurn":
        """The next decision, after an action of this environment and what it showed."""
        exchange = AnalystExchange.model_validate({"action": action, "observation": observation})
        return self.model_copy(update={"history": (*self.history, exchange)})


AnyTurn = Turn | AnalystTurn


def explore_turn(turn: AnyTurn, policy: str) -> Turn:
    """The turn, for a policy that plays explore only. Raises BadInput for one of another environment."""
    if not isinstance(turn, Turn):
        raise BadInput(f"the policy {policy} plays explore tasks only, and {turn.task_id} is none")
    return turn


class Policy(Protocol):
    """Chooses one action for each turn; the same turns give the same actions."""

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises PolicyFault if its service fails."""
        ...


class Usage(Record):
    """Tokens that one decision took, as the model's server counts them."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class Price(Record):
    """What a model's server charges, in US dollars for a million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)

    def usd(self, usage: Usage) -> float:
        """What the tokens cost."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / MILLION


class Decision(Record):
    """An action, what it took to decide, and what the model said beside it."""

    action: Action
    usage: Usage | None = None
    usd: float | None = Field(default=None, ge=0, description="None: there is no price, or no count")
    reasoning: str = ""


Decided = Action | Decision


def action_of(decided: Decided) -> Action:
    """The action alone."""
    return decided.action if isinstance(decided, Decision) else decided


def usage_of(decided: Decided) -> Usage | None:
    """The tokens; None of a policy that counts none."""
    return decided.usage if isinstance(decided, Decision) else None


class AsyncPolicy(Protocol):
    """A policy that waits for something else to decide: the same law, awaited."""

    async def act(self, turns: Sequence[AnyTurn]) -> Sequence[Decided]:
        """One action a turn, in order. Raises PolicyFault if its service fails."""
        ...


AnyPolicy = Policy | AsyncPolicy


@runtime_checkable
class TurnPolicy(Protocol):
    """An AsyncPolicy that is asked turn by turn: each for itself, so that a slow or broken answer holds up no other."""

    async def decide(self, turn: AnyTurn) -> Decided:
        """The decision for one turn. Raises PolicyFault if its service fails, OverBudget if it may not be asked."""
        ...
