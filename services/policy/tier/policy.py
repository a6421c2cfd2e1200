"""Policies over the structured tier: look around, then choose one candidate after the other, and answer."""

import random
from collections.abc import Callable, Sequence

from services.contracts.actions import Action, ExploreAction
from services.contracts.policy import AnyTurn, Turn, explore_turn
from services.policy.heuristic import HeuristicPolicy
from services.policy.heuristic.looking import look_around
from services.policy.tier.candidates import candidates
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge, knowledge_of
from services.policy.tier.operations import MOST, Operation, Submit
from services.policy.tier.playing import action_of, result_of, state_of
from services.policy.tier.state import after

Choose = Callable[[Turn, State, Knowledge, Sequence[Operation]], Operation | None]
"""Picks one of the candidates, or None to leave the turn to raw SQL."""
LAST_STEPS = 3
"""Steps left from which on partial results are no longer looked at."""


class StructuredPolicy:
    """Plays by operations what `choose` picks; where it picks none, the heuristic's raw SQL goes on."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._otherwise = HeuristicPolicy()

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises BadInput for a task that is not of explore."""
        return [self._next(explore_turn(turn, "structured")) for turn in turns]

    def _next(self, turn: Turn) -> Action:
        looking = look_around(turn)
        return looking if looking is not None else self._operate(turn) or self._otherwise.act([turn])[0]

    def _operate(self, turn: Turn) -> ExploreAction | None:
        """The next partial result; with few steps left only the last one is shown."""
        knowledge = knowledge_of(turn)
        state = state_of(turn, knowledge.schema)
        while not state.over and len(state.taken) < MOST:
            chosen = self._choose(turn, state, knowledge, candidates(state, knowledge))
            if chosen is None:
                return None
            state = after(state, chosen)
            shown = action_of(turn, state, knowledge.schema)
            if shown is not None and not is_late(turn):
                return shown
        return action_of(turn, state, knowledge.schema) if state.over else None


def is_late(turn: Turn) -> bool:
    """Whether the steps left are needed for the last result and the answer."""
    return turn.observation.budget_remaining <= LAST_STEPS


def planned(turn: Turn, state: State, knowledge: Knowledge, offered: Sequence[Operation]) -> Operation | None:
    """What the heuristic's own statement does next; None if it cannot be said in operations, or shows nothing."""
    done = len(state.taken)
    if done >= len(knowledge.plan) or knowledge.plan[:done] != state.taken:
        return None
    result = result_of(turn, state, knowledge.schema)
    empty = result is not None and not result.rows
    return None if empty and isinstance(knowledge.plan[done], Submit) else knowledge.plan[done]


def at_random(turn: Turn, state: State, knowledge: Knowledge, offered: Sequence[Operation]) -> Operation | None:
    """Any kind of operation, then any candidate of that kind, by the turn's seed."""
    if is_late(turn) and Submit() in offered:
        return Submit()
    dice = random.Random(f"{turn.seed}/{len(turn.history)}/{len(state.taken)}")
    kind = dice.choice(sorted({one.kind for one in offered}) or [""])
    return dice.choice([one for one in offered if one.kind == kind] or [None])
