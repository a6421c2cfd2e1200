"""A policy that acts at random, within reason: the floor that any other policy must clear."""

import random
from collections.abc import Sequence

from services.contracts.actions import Action, Answer, Describe, ExploreAction, Query, Sample, SQLAction
from services.contracts.policy import AnalystTurn, AnyTurn, Turn
from services.policy.heuristic.quoting import name
from services.policy.heuristic.reading import Column, is_numeric, read_outcomes, read_schema, read_table_names

SUBMITS_BY = 8
"""Steps after which a random analyst has submitted something."""


class RandomPolicy:
    """Explores tables and columns it has seen, and answers with a value it has seen; certain to answer in time.

    As an analyst it sends simple queries about the schema, one of them as its submission.
    """

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order."""
        return [_act(turn, random.Random(f"{turn.seed}/{len(turn.history)}")) for turn in turns]


def _act(turn: AnyTurn, dice: random.Random) -> Action:
    return _analyse(turn, dice) if isinstance(turn, AnalystTurn) else _choose(turn, dice)


def _analyse(turn: AnalystTurn, dice: random.Random) -> SQLAction:
    table = dice.choice(sorted(turn.first.schema_))
    column, kind = dice.choice(sorted(turn.first.schema_[table].items()))
    sql = _select(Column(table, column, is_numeric(kind), 0), dice)
    return SQLAction(sql_query=sql, is_done=dice.random() < len(turn.history) / SUBMITS_BY)


def _choose(turn: Turn, dice: random.Random) -> ExploreAction:
    left = turn.observation.budget_remaining
    if left <= 1 or dice.random() < len(turn.history) / (len(turn.history) + left):
        return Answer(value=dice.choice(_values(turn)))
    columns = list(read_schema(turn.history).columns())
    if columns and dice.random() < 0.6:
        return Query(sql=_select(dice.choice(columns), dice))
    names = read_table_names(turn.first.schema_info)
    if not names:
        return Query(sql="SELECT 1")
    table = dice.choice(names)
    return Describe(table=table) if dice.random() < 0.7 else Sample(table=table)


def _select(column: Column, dice: random.Random) -> str:
    """A simple query about the column."""
    source = f"FROM {name(column.table)}"
    options = [f"SELECT count(*) {source}", f"SELECT {name(column.name)} {source} LIMIT 5"]
    functions = ("max", "min", "avg") if column.numeric else ("max", "min")
    options += [f"SELECT {function}({name(column.name)}) {source}" for function in functions]
    return dice.choice(options)


def _values(turn: Turn) -> list[str]:
    """Every cell that a query has shown; never empty."""
    outcomes = read_outcomes(turn.history).values()
    cells = [cell for outcome in outcomes for row in outcome.rows for cell in row if cell is not None]
    return cells or ["0"]
