"""The policy `demonstrated:FILE`: plays the operations of demonstrations, so that they become episodes like any other.

It holds gold. It is for tasks to learn from, as an upper bound of the structured tier: never for what is evaluated.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from services.contracts.actions import Answer, Describe, ExploreAction
from services.contracts.policy import Turn
from services.policy.heuristic.looking import look_around
from services.policy.heuristic.reading import described
from services.policy.scripts import read_scripts
from services.policy.tier.compiling import compile_state
from services.policy.tier.demonstration import Demonstration
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Join, Operations, Scan
from services.policy.tier.state import IllegalOperation, run
from services.policy.tier.whole import FirstWithRows, WholeQuery, WholeQueryPolicy

ByTask = Mapping[str, Operations]


def read_demonstrated(file: Path) -> WholeQueryPolicy:
    """The policy of a file of demonstrations. Raises BadInput with the line that is wrong."""
    return demonstrated_policy({one.task_id: one.operations for one in read_scripts(file, Demonstration)})


def demonstrated_policy(operations: ByTask) -> WholeQueryPolicy:
    """Looks around like any other policy, runs the task's operations as one query, and answers its rows.

    A task without operations, or whose database does not know them, gets an empty answer, which no gold is.
    """
    rank, look = partial(_rank, operations), partial(_look, operations)
    return WholeQueryPolicy("demonstrated", rank, FirstWithRows(), 1, _answer_nothing, look)


def _rank(operations: ByTask, turn: Turn, knowledge: Knowledge) -> tuple[WholeQuery, ...]:
    try:
        state = run(operations.get(turn.task_id, ()), knowledge.schema)
    except IllegalOperation:
        return ()
    return (WholeQuery(state, compile_state(state, knowledge.schema)),) if state.over else ()


def _look(operations: ByTask, turn: Turn) -> ExploreAction | None:
    """Look around; the tables that are used and were left out are described before cells are looked for."""
    if turn.task_id not in operations:
        return None
    looking = look_around(turn)
    used = (one.table for one in operations[turn.task_id] if isinstance(one, Scan | Join))
    asked = described(turn)
    left_out = next((table for table in used if table not in asked), None)
    if isinstance(looking, Describe) or left_out is None or turn.observation.budget_remaining <= 2:
        return looking
    return Describe(table=left_out)


def _answer_nothing(turn: Turn) -> ExploreAction:
    return Answer(value="")
