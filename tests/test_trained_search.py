"""The beam finds the likeliest whole query, adds up the ways to one statement, and tells true probabilities."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.policy.tier.candidates import candidates
from services.policy.tier.compiling import compile_state
from services.policy.tier.features import CANDIDATE_FEATURES, candidate_features
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Group, Item, Operation, Operations, Project, Ref, Scan, Submit
from services.policy.tier.state import after
from services.policy.trained.manifest import SearchSettings
from services.policy.trained.scoring import LogProbabilities
from services.policy.trained.searching import Beam
from tests.tier import database, schema_of

KNOWLEDGE = Knowledge("How many singers are from each country?", schema_of(database()))
SINGER, SINGING = Scan("singer"), Scan("singing")
NAME = Ref(0, "name")
UNLIKELY = -50.0


class Written:
    """Knows the probability of what comes after some operations; anything else is most unlikely."""

    def __init__(self, probabilities: Mapping[Operations, Mapping[Operation, float]]) -> None:
        self._probabilities = probabilities

    def __call__(
        self, states: Sequence[State], offered: Sequence[Sequence[Operation]], knowledge: Knowledge, steps_left: int
    ) -> list[LogProbabilities]:
        return [
            np.array([self._log(state, operation) for operation in operations])
            for state, operations in zip(states, offered, strict=True)
        ]

    def _log(self, state: State, operation: Operation) -> float:
        probability = self._probabilities.get(state.taken, {}).get(operation, 0.0)
        return math.log(probability) if probability else UNLIKELY


class Weighing:
    """Weighs features by chance."""

    def __init__(self, seed: int, scale: float) -> None:
        self._weights = np.random.default_rng(seed).normal(0.0, scale, len(CANDIDATE_FEATURES))

    def __call__(
        self, states: Sequence[State], offered: Sequence[Sequence[Operation]], knowledge: Knowledge, steps_left: int
    ) -> list[LogProbabilities]:
        paired = zip(states, offered, strict=True)
        logits = [candidate_features(state, knowledge, operations) @ self._weights for state, operations in paired]
        return [row - np.logaddexp.reduce(row) for row in logits]


THIN = {
    (): {SINGER: 0.6, SINGING: 0.4},
    (SINGER,): {Submit(): 0.3, Project(Item(NAME)): 0.3},
    (SINGER, Project(Item(NAME))): {Submit(): 0.9},
    (SINGING,): {Submit(): 0.9},
}


def test_the_likeliest_query_is_found_though_its_first_operation_is_not_the_likeliest() -> None:
    greedy, wide = (Beam(Written(THIN), SearchSettings(width=width)).search(KNOWLEDGE)[0] for width in (1, 2))
    assert greedy.state.taken == (SINGER, Submit())
    assert greedy.log_probability == pytest.approx(math.log(0.18))
    assert wide.state.taken == (SINGING, Submit())
    assert wide.log_probability == pytest.approx(math.log(0.36))
    assert wide.least == pytest.approx(math.log(0.4))


def test_a_length_in_the_measure_favours_longer_queries() -> None:
    longer = {**THIN, (SINGER,): {Project(Item(NAME)): 0.5}}
    plain, by_length = (
        Beam(Written(longer), SearchSettings(width=3, length_power=power)).search(KNOWLEDGE)[0] for power in (0.0, 1.0)
    )
    assert plain.state.taken == (SINGING, Submit())
    assert by_length.state.taken == (SINGER, Project(Item(NAME)), Submit())


def test_two_ways_to_one_statement_are_one_query_with_both_probabilities() -> None:
    both = Written(
        {
            (): {SINGER: 1.0},
            (SINGER,): {Group(NAME): 0.6, Submit(): 0.4},
            (SINGER, Group(NAME)): {Submit(): 0.5, Project(Item(NAME)): 0.5},
            (SINGER, Group(NAME), Project(Item(NAME))): {Submit(): 0.9},
        }
    )
    best = Beam(both, SearchSettings(width=3)).search(KNOWLEDGE)[0]
    assert best.state.taken == (SINGER, Group(NAME), Submit())
    assert best.log_probability == pytest.approx(math.log(0.6 * 0.5 + 0.6 * 0.5 * 0.9))


def test_nothing_is_found_where_no_table_is_known() -> None:
    assert Beam(Written({}), SearchSettings()).search(Knowledge("Who?", schema_of(database()).__class__(()))) == ()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 4.0]), st.integers(1, 5))
def test_found_queries_are_distinct_ordered_and_at_least_as_likely_as_their_operations(
    seed: int, scale: float, width: int
) -> None:
    score = Weighing(seed, scale)
    found = Beam(score, SearchSettings(width=width)).search(KNOWLEDGE)
    assert 1 <= len(found) <= width
    assert len({query.sql for query in found}) == len(found)
    assert [query.log_probability for query in found] == sorted((q.log_probability for q in found), reverse=True)
    for query in found:
        assert query.sql == compile_state(query.state, KNOWLEDGE.schema)
        logs = list(along(query.state.taken, score))
        assert query.log_probability >= sum(logs) - 1e-6
        assert query.least == pytest.approx(min(logs))


def along(operations: Operations, score: Weighing) -> Sequence[float]:
    """The log-probability of each operation where it was taken."""
    state, logs = State(), list[float]()
    for operation in operations:
        offered = candidates(state, KNOWLEDGE)
        logs.append(float(score([state], [offered], KNOWLEDGE, 9)[0][offered.index(operation)]))
        state = after(state, operation)
    return logs
