"""Playing: operations as actions of an episode, and the state read back from its turn.

Every partial result is a QUERY like any other, so that raw SQL and operations mix in one episode. A statement carries
all operations that made it: to go back, or to begin again, is to send another list.
"""

from collections.abc import Mapping

from services.contracts.actions import Answer, ExploreAction, Query
from services.contracts.policy import Turn
from services.policy.heuristic.answering import answer_text
from services.policy.heuristic.paging import next_page, rows_seen
from services.policy.heuristic.reading import Outcome, Schema, read_outcomes
from services.policy.tier.compiling import compile_state
from services.policy.tier.frames import NUMBER, State, result_kinds
from services.policy.tier.operations import bare, carried, read_operations
from services.policy.tier.state import IllegalOperation, run


def state_of(turn: Turn, schema: Schema) -> State:
    """Where the operations of the latest statement that carries any have led; the beginning if there is none."""
    for exchange in reversed(turn.history):
        operations = read_operations(exchange.action.sql) if isinstance(exchange.action, Query) else None
        if operations is not None:
            try:
                return run(operations, schema)
            except IllegalOperation:
                return State()
    return State()


def action_of(turn: Turn, state: State, schema: Schema) -> ExploreAction | None:
    """The action that shows a state's partial result, or after a submission reads the rest of it and answers.

    None where there is nothing to show yet: a sub-query, or a query to combine, was begun and has no table.
    """
    if not state.frame.sources:
        return None
    sql = compile_state(state, schema)
    if not state.over:
        return Query(sql=carried(sql, state.taken))
    outcomes = outcomes_of(turn)
    asked = sql if sql not in outcomes else next_page(sql, outcomes)
    if asked is not None and turn.observation.budget_remaining > 1:
        return Query(sql=carried(asked, state.taken))
    return Answer(value=_answer(state, sql, outcomes, schema))


def result_of(turn: Turn, state: State, schema: Schema) -> Outcome | None:
    """What the state's partial result showed; None if it was not asked for."""
    return outcomes_of(turn).get(compile_state(state, schema)) if state.frame.sources else None


def _answer(state: State, sql: str, outcomes: Mapping[str, Outcome], schema: Schema) -> str:
    """The rows seen, as text; of a result that is empty or failed an empty list, which no gold is."""
    numeric = [kind == NUMBER for kind in result_kinds(state.frame, schema)]
    return answer_text(rows_seen(sql, outcomes) if sql in outcomes else (), numeric)


def outcomes_of(turn: Turn) -> dict[str, Outcome]:
    """Every statement tried so far, without the operations that it carries, with its outcome."""
    return {bare(sql): outcome for sql, outcome in read_outcomes(turn.history).items()}
