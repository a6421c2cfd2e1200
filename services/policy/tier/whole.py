"""Whole queries: look around, try the likeliest queries as a whole, choose one by its result, and answer.

Invariant: nothing is kept between turns; ranking and choosing depend on what the turn has shown alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.contracts.actions import Action, ExploreAction, Query
from services.contracts.policy import AnyTurn, Turn, explore_turn
from services.policy.heuristic.looking import look_around
from services.policy.heuristic.paging import PAGES
from services.policy.heuristic.reading import Outcome
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge, knowledge_of
from services.policy.tier.operations import carried
from services.policy.tier.playing import action_of, outcomes_of

RESERVE = 1 + (PAGES - 1)
"""Steps kept for the answer and the further pages of the chosen result: only the first query may use them."""


@dataclass(frozen=True, slots=True)
class WholeQuery:
    """A submitted state, its SQL, and how likely it is: of all its operations, and of the least likely one."""

    state: State
    sql: str
    log_probability: float = 0.0
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Tried:
    """A query and the first page of its result."""

    query: WholeQuery
    outcome: Outcome


Rank = Callable[[Turn, Knowledge], Sequence[WholeQuery]]
"""The queries to try, best first; the same for every turn of an episode that knows the same."""
Look = Callable[[Turn], ExploreAction | None]
"""What to look at before the first query; None once that is done."""
Otherwise = Callable[[Turn], ExploreAction]
"""What is done where there is no query to try."""


class Chooser(Protocol):
    """Which of the tried queries is answered."""

    def enough(self, tried: Sequence[Tried]) -> bool:
        """Whether no further result can change the choice."""
        ...

    def choose(self, knowledge: Knowledge, tried: Sequence[Tried]) -> WholeQuery:
        """One of those tried, of which there is at least one."""
        ...


class FirstWithRows:
    """The first query that returned rows, else the first that ran, else the first."""

    def enough(self, tried: Sequence[Tried]) -> bool:
        """Once there are rows."""
        return any(one.outcome.rows for one in tried)

    def choose(self, knowledge: Knowledge, tried: Sequence[Tried]) -> WholeQuery:
        """The first of the best kind."""
        return min(tried, key=lambda one: (not one.outcome.rows, bool(one.outcome.error))).query


class WholeQueryPolicy:
    """Tries at most `tries` whole queries, as many as the budget allows, and answers the chosen one's rows."""

    def __init__(
        self, name: str, rank: Rank, chooser: Chooser, tries: int, otherwise: Otherwise, look: Look = look_around
    ) -> None:
        self._name = name
        self._rank = rank
        self._chooser = chooser
        self._tries = tries
        self._otherwise = otherwise
        self._look = look

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises BadInput for a task that is not of explore."""
        return [self._next(explore_turn(turn, self._name)) for turn in turns]

    def _next(self, turn: Turn) -> ExploreAction:
        looking = self._look(turn)
        return looking if looking is not None else self._try_or_answer(turn) or self._otherwise(turn)

    def _try_or_answer(self, turn: Turn) -> ExploreAction | None:
        """None where there is nothing to try."""
        knowledge = knowledge_of(turn)
        queries = self._rank(turn, knowledge)[: self._tries]
        if not queries:
            return None
        outcomes = outcomes_of(turn)
        tried = [Tried(query, outcomes[query.sql]) for query in queries if query.sql in outcomes]
        left = next((query for query in queries if query.sql not in outcomes), None)
        affordable = turn.observation.budget_remaining > (RESERVE if tried else 1)
        if left is not None and affordable and not self._chooser.enough(tried):
            return Query(sql=carried(left.sql, left.state.taken))
        chosen = self._chooser.choose(knowledge, tried) if tried else queries[0]
        return action_of(turn, chosen.state, knowledge.schema)
