"""Looking around: the first actions of an episode, which find out what the question may speak of."""

from collections.abc import Mapping

from services.contracts.actions import Describe, Query
from services.contracts.policy import Turn
from services.policy.heuristic.linking import Hit, rank_tables
from services.policy.heuristic.probing import probe, read_hits
from services.policy.heuristic.reading import (
    Outcome,
    Schema,
    described,
    read_outcomes,
    read_schema,
    read_table_names,
)
from services.policy.heuristic.words import tokens

TABLES = 8
RESERVE = 4


def look_around(turn: Turn) -> Describe | Query | None:
    """DESCRIBE what may matter, then look for the question's words among the cells; None once that is done."""
    left = turn.observation.budget_remaining
    table = _table_to_describe(turn)
    if table is not None and left > RESERVE:
        return Describe(table=table)
    looking = probe(tokens(turn.first.question), read_schema(turn.history))
    new = looking is not None and looking not in read_outcomes(turn.history)
    return Query(sql=looking) if looking is not None and new and left > 2 else None


def found_cells(question: str, schema: Schema, outcomes: Mapping[str, Outcome]) -> tuple[Hit, ...]:
    """The cells that looking around has found."""
    return read_hits(probe(tokens(question), schema), schema, outcomes)


def _table_to_describe(turn: Turn) -> str | None:
    names = read_table_names(turn.first.schema_info)
    ranked = rank_tables(tokens(turn.first.question), names)[:TABLES] if len(names) > TABLES else names
    asked = described(turn)
    return next((table for table in ranked if table not in asked), None)
