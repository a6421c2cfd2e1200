"""Features are the numbers that were recorded, and do not depend on which states were seen before."""

from pathlib import Path

import numpy as np
import pytest

from services.policy.heuristic.linking import Hit
from services.policy.tier.candidates import candidates
from services.policy.tier.features import CANDIDATE_FEATURES, candidate_features, state_features
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import (
    Close,
    Filter,
    Group,
    Having,
    Item,
    Join,
    Limit,
    Nest,
    Operation,
    Order,
    Project,
    Ref,
    Scan,
)
from services.policy.tier.rows import rows_of
from services.policy.tier.state import step
from tests.tier import database, schema_of

RECORDED = Path(__file__).parent / "data" / "features.npz"
NAME, AGE, COUNTRY = Ref(0, "name"), Ref(0, "age"), Ref(0, "country")
WALKS: tuple[tuple[str, tuple[Operation, ...]], ...] = (
    (
        "Which singers from 'France' are older than 29.5 or 30 years, and how many concerts has each at most 2?",
        (
            Scan("singer"),
            Join(Ref(0, "singer_id"), "singing", "singer_id"),
            Filter(COUNTRY, "=", ("France",)),
            Filter(AGE, ">", (29.5,)),
            Filter(AGE, ">", (30,), either=True),
            Group(NAME),
            Having(Item(None, "count"), "<=", (2,)),
            Project(Item(NAME)),
            Project(Item(None, "count")),
            Order(Item(None, "count"), True),
            Limit(1),
        ),
    ),
    (
        "What is the average age of singers who are not older than the youngest singer named Joe Sharp?",
        (
            Scan("singer"),
            Nest(Item(AGE), "<="),
            Scan("singer"),
            Filter(NAME, "=", ("Joe Sharp",)),
            Project(Item(AGE, "min")),
            Close(),
            Project(Item(AGE, "avg")),
        ),
    ),
)


def walked() -> list[tuple[State, Knowledge]]:
    """Every state of the walks, and what is known there."""
    schema = schema_of(database())
    country, name = (next(c for c in schema.tables[0].columns if c.name == n) for n in ("country", "name"))
    hits = ((Hit(country, "France"),), (Hit(name, "Joe Sharp"),))
    found: list[tuple[State, Knowledge]] = []
    for (question, walk), cells in zip(WALKS, hits, strict=True):
        state, knowledge = State(), Knowledge(question, schema, cells)
        found.append((state, knowledge))
        for operation in walk:
            state = step(state, operation, schema)
            found.append((state, knowledge))
    return found


@pytest.mark.parametrize("backwards", [False, True])
def test_features_are_as_recorded_whatever_was_seen_before(backwards: bool) -> None:
    rows_of.cache_clear()
    with np.load(RECORDED) as recorded:
        expected = [recorded[name] for name in sorted(recorded.files)]
    states = walked()
    for place in range(len(states))[:: -1 if backwards else 1]:
        state, knowledge = states[place]
        offered = candidates(state, knowledge)
        described = state_features(state, knowledge, None, 9)
        seen = np.vstack(
            [
                np.pad(described, (0, len(CANDIDATE_FEATURES) - len(described))),
                candidate_features(state, knowledge, offered),
            ]
        )
        np.testing.assert_array_equal(seen, expected[place])
