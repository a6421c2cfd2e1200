"""A policy without learning: it links the question to the schema by names and cells, and writes one query by rule."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from services.contracts.actions import Action, Answer, ExploreAction, Query
from services.contracts.policy import AnyTurn, Turn, explore_turn
from services.policy.heuristic.answering import answer_text
from services.policy.heuristic.composing import Statement, compose
from services.policy.heuristic.intent import Intent, Item
from services.policy.heuristic.linking import Hit, link
from services.policy.heuristic.looking import found_cells, look_around
from services.policy.heuristic.paging import next_page, rows_seen
from services.policy.heuristic.reading import Outcome, Schema, read_outcomes, read_schema
from services.policy.heuristic.scanning import read_intent
from services.policy.heuristic.words import identifier_words, tokens

_FULL_NAME = re.compile(r"\bfull names?\b", re.IGNORECASE)
_ATTEMPTS = 3


class HeuristicPolicy:
    """DESCRIBE what may matter, look for the question's words among the cells, query, fall back, answer."""

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises BadInput for a task that is not of explore."""
        return [next_action(explore_turn(turn, "heuristic")) for turn in turns]


def next_action(turn: Turn) -> ExploreAction:
    """What the heuristic does next."""
    looking = look_around(turn)
    if looking is not None:
        return looking
    schema, outcomes = read_schema(turn.history), read_outcomes(turn.history)
    statements = plan(turn.first.question, schema, found_cells(turn.first.question, schema, outcomes))
    sql = _statement_to_try(statements, outcomes) if turn.observation.budget_remaining > 1 else None
    return Query(sql=sql) if sql is not None else Answer(value=_answer(statements, outcomes))


@lru_cache(maxsize=256)
def plan(question: str, schema: Schema, hits: tuple[Hit, ...]) -> tuple[Statement, ...]:
    """The statements worth trying, most likely first."""
    names = {identifier_words(column.name) for column in schema.columns()}
    words = tokens(_FULL_NAME.sub("first name and last name", question) if ("first", "name") in names else question)
    intent = read_intent(words, link(words, schema, hits), schema)
    statements = (compose(variant, schema) for variant in _variants(intent))
    return tuple(dict.fromkeys(statement for statement in statements if statement is not None))


def _variants(intent: Intent) -> list[Intent]:
    """The intent itself, then readings that ask for less."""
    alone = replace(intent, tables=intent.tables[:1])
    simple = replace(alone, excluded=(), having=(), both=False)
    bare = replace(simple, conditions=())
    return [intent, alone, simple, bare, Intent(items=(Item(None, "count"),), tables=intent.tables[:1])]


def _statement_to_try(statements: Sequence[Statement], outcomes: Mapping[str, Outcome]) -> str | None:
    """The next statement, or the next page of the one that worked; None when it is time to answer."""
    for statement in statements[:_ATTEMPTS]:
        outcome = outcomes.get(statement.sql)
        if outcome is None:
            return statement.sql
        if outcome.rows:
            return next_page(statement.sql, outcomes)
    return None


def _answer(statements: Sequence[Statement], outcomes: Mapping[str, Outcome]) -> str:
    for statement in statements:
        outcome = outcomes.get(statement.sql)
        if outcome is not None and outcome.rows:
            return answer_text(rows_seen(statement.sql, outcomes), statement.numeric)
    return "0"
