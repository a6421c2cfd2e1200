"""Searching: a beam over operations for the likeliest whole queries of what is known.

Invariant: no partial result is looked at, so that what is found depends on the knowledge alone.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.policy.tier.candidates import candidates
from services.policy.tier.compiling import compile_state
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import MOST, Operation, Submit
from services.policy.tier.state import after
from services.policy.tier.whole import WholeQuery
from services.policy.trained.manifest import SearchSettings
from services.policy.trained.scoring import LogProbabilities

Score = Callable[[Sequence[State], Sequence[Sequence[Operation]], Knowledge, int], list[LogProbabilities]]
"""Log-probabilities of the candidates of some states, given the steps left."""


@dataclass(frozen=True, slots=True)
class _Path:
    """A partial query, the log-probability of its operations together, and of the least likely one."""

    state: State
    total: float = 0.0
    least: float = 0.0

    def then(self, operation: Operation, log_probability: float) -> "_Path":
        """The path after one more operation."""
        least = min(self.least, log_probability)
        return _Path(after(self.state, operation), self.total + log_probability, least)


class Beam:
    """Finds the likeliest queries by a scorer."""

    def __init__(self, score: Score, settings: SearchSettings) -> None:
        self._score = score
        self._settings = settings

    def search(self, knowledge: Knowledge) -> tuple[WholeQuery, ...]:
        """At most `width` queries, best first; those of one SQL are one. Empty where no table is known."""
        paths, found = [_Path(State())], _Found(knowledge, self._settings)
        for length in range(1, MOST + 1):
            paths = self._extended(paths, knowledge, found, length)
            if not paths or found.is_beyond(paths[0].total):
                break
        return found.best()

    def _extended(self, paths: Sequence[_Path], knowledge: Knowledge, found: "_Found", length: int) -> list[_Path]:
        """The likeliest paths of one more operation, best first; those that are submitted are added to `found`."""
        states = [path.state for path in paths]
        offered = [candidates(state, knowledge) for state in states]
        scored = self._score(states, offered, knowledge, self._settings.steps_left)
        going: list[tuple[float, int, int]] = []
        for number, (path, operations, logs) in enumerate(zip(paths, offered, scored, strict=True)):
            for place in _likeliest(logs, self._settings.width + 1):
                if isinstance(operations[place], Submit):
                    continue
                going.append((-(path.total + float(logs[place])), number, place))
            if Submit() in operations:
                found.add(path.then(Submit(), float(logs[operations.index(Submit())])))
        best = heapq.nsmallest(self._settings.width, going) if length < MOST else []
        return [paths[number].then(offered[number][place], float(scored[number][place])) for _, number, place in best]


def _likeliest(logs: LogProbabilities, count: int) -> list[int]:
    """The places of the highest, best first; of equals the first."""
    return [int(place) for place in np.argsort(-logs, kind="stable")[:count]]


class _Found:
    """Submitted queries by their SQL: probabilities of the same SQL are added, the likeliest way to it is kept."""

    def __init__(self, knowledge: Knowledge, settings: SearchSettings) -> None:
        self._schema = knowledge.schema
        self._settings = settings
        self._ways: dict[str, list[_Path]] = {}

    def add(self, path: _Path) -> None:
        """One more way to a query."""
        self._ways.setdefault(compile_state(path.state, self._schema), []).append(path)

    def best(self) -> tuple[WholeQuery, ...]:
        """As many as the beam is wide, best first."""
        queries = (_merged(sql, ways) for sql, ways in self._ways.items())
        return tuple(sorted(queries, key=lambda query: -self._worth(query)))[: self._settings.width]

    def is_beyond(self, total: float) -> bool:
        """Whether a path of that log-probability, however it goes on, comes after as many as are wanted."""
        best = self.best()
        longest = float(MOST**self._settings.length_power)
        return len(best) == self._settings.width and total / longest <= self._worth(best[-1])

    def _worth(self, query: WholeQuery) -> float:
        return query.log_probability / float(len(query.state.taken) ** self._settings.length_power)


def _merged(sql: str, ways: Sequence[_Path]) -> WholeQuery:
    likeliest = max(ways, key=lambda path: path.total)
    together = float(np.logaddexp.reduce([path.total for path in ways]))
    return WholeQuery(likeliest.state, sql, together, likeliest.least)
