"""A policy without learning: it links the question to the schema by names and cells, and writes one query by rule."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from services.contracts.actions import Action, Answer, Describe, ExploreAction, Query
from services.contracts.policy import AnyTurn, Turn, explore_turn
from services.policy.heuristic.answering import answer_text
from services.policy.heuristic.composing import Statement, compose
from services.policy.heuristic.intent import Intent, Item
from services.policy.heuristic.linking import Hit, link, rank_tables
from services.policy.heuristic.probing import probe, read_hits
from services.policy.heuristic.reading import (
    Outcome,
    Schema,
    described,
    read_outcomes,
    read_schema,
    read_table_names,
)
from services.policy.heuristic.scanning import read_intent
from services.policy.heuristic.words import identifier_words, tokens

_FULL_NAME = re.compile(r"\bfull names?\b", re.IGNORECASE)
_TABLES = 8
_ATTEMPTS = 3
_PAGE = 20
_PAGES = 4
_DESCRIBE_RESERVE = 4


class HeuristicPolicy:
    """DESCRIBE what may matter, look for the question's words among the cells, query, fall back, answer."""

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises BadInput for a task that is not of explore."""
        return [_next_action(explore_turn(turn, "heuristic")) for turn in turns]


def _next_action(turn: Turn) -> ExploreAction:
    left = turn.observation.budget_remaining
    table = _table_to_describe(turn)
    if table is not None and left > _DESCRIBE_RESERVE:
        return Describe(table=table)
    schema = read_schema(turn.history)
    outcomes = read_outcomes(turn.history)
    looking = probe(tokens(turn.first.question), schema)
    if looking is not None and looking not in outcomes and left > 2:
        return Query(sql=looking)
    statements = plan(turn.first.question, schema, read_hits(looking, schema, outcomes))
    sql = _statement_to_try(statements, outcomes) if left > 1 else None
    return Query(sql=sql) if sql is not None else Answer(value=_answer(statements, outcomes))


def _table_to_describe(turn: Turn) -> str | None:
    names = read_table_names(turn.first.schema_info)
    ranked = rank_tables(tokens(turn.first.question), names)[:_TABLES] if len(names) > _TABLES else names
    asked = described(turn)
    return next((table for table in ranked if table not in asked), None)


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
            return _next_page(statement.sql, outcome, outcomes)
    return None


def _next_page(sql: str, outcome: Outcome, outcomes: Mapping[str, Outcome]) -> str | None:
    if " LIMIT " in sql or len(outcome.rows) >= outcome.total:
        return None
    pages = (_page(sql, offset) for offset in range(_PAGE, min(outcome.total, _PAGE * _PAGES), _PAGE))
    return next((page for page in pages if page not in outcomes), None)


def _page(sql: str, offset: int) -> str:
    return f"{sql} LIMIT {_PAGE} OFFSET {offset}"


def _answer(statements: Sequence[Statement], outcomes: Mapping[str, Outcome]) -> str:
    for statement in statements:
        outcome = outcomes.get(statement.sql)
        if outcome is not None and outcome.rows:
            rows = list(outcome.rows)
            for offset in range(_PAGE, _PAGE * _PAGES, _PAGE):
                page = outcomes.get(_page(statement.sql, offset))
                rows.extend(page.rows if page is not None else ())
            return answer_text(rows, statement.numeric)
    return "0"
