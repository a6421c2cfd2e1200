"""A rule-based baseline between random and heuristic: one table, one query by the question's cue word, one answer."""

import re
from collections.abc import Sequence

from services.contracts.actions import Action, Answer, Describe, ExploreAction, Query
from services.contracts.policy import AnyTurn, Turn, explore_turn
from services.policy.heuristic.answering import answer_text
from services.policy.heuristic.linking import rank_tables
from services.policy.heuristic.quoting import name
from services.policy.heuristic.reading import Column, Table, described, read_outcomes, read_schema, read_table_names
from services.policy.heuristic.words import Word, identifier_words, tokens

_COUNT = re.compile(r"\b(how many|number of|count)\b", re.IGNORECASE)
_CUES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"\b({words})\b", re.IGNORECASE), function)
    for words, function in (
        ("average|mean", "avg"),
        ("total|sum", "sum"),
        ("highest|maximum|largest|most|latest|longest", "max"),
        ("lowest|minimum|smallest|least|earliest|shortest", "min"),
    )
)


class RuleBasedPolicy:
    """DESCRIBE the table whose name the question says, count, aggregate or list one of its columns, answer."""

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """One action a turn, in order. Raises BadInput for a task that is not of explore."""
        return [_next_action(explore_turn(turn, "rule-based")) for turn in turns]


def _next_action(turn: Turn) -> ExploreAction:
    words = tokens(turn.first.question)
    names = read_table_names(turn.first.schema_info)
    if not names:
        return Answer(value="0")
    chosen = rank_tables(words, names)[0]
    if chosen not in described(turn) and turn.observation.budget_remaining > 2:
        return Describe(table=chosen)
    table = read_schema(turn.history).table(chosen)
    if table is None:
        return Answer(value="0")
    column = _column(words, table)
    sql = _statement(turn.first.question, table, column)
    outcome = read_outcomes(turn.history).get(sql)
    if outcome is None and turn.observation.budget_remaining > 1:
        return Query(sql=sql)
    return Answer(value=answer_text(outcome.rows, (column.numeric,)) if outcome is not None and outcome.rows else "0")


def _column(words: Sequence[Word], table: Table) -> Column:
    """The column whose name shares the most with the question; the first of those that share alike."""
    said = {word.stem for word in words}
    return max(table.columns, key=lambda column: _shared(column, said))


def _shared(column: Column, said: set[str]) -> float:
    parts = identifier_words(column.name)
    return sum(part in said for part in parts) / len(parts) if parts else 0.0


def _statement(question: str, table: Table, column: Column) -> str:
    source = f"FROM {name(table.name)}"
    if _COUNT.search(question):
        return f"SELECT count(*) {source}"
    for cue, function in _CUES:
        if cue.search(question):
            return f"SELECT {function}({name(column.name)}) {source}"
    return f"SELECT DISTINCT {name(column.name)} {source} ORDER BY 1"
