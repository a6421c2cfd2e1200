"""The turns of stored episodes: what an agent had seen before each of its actions, from the row and the task set."""

import json
from typing import Any

from cluster.run import RunFolder
from cluster.schema import action_of, task_of
from cluster.tasksets.opening import open_task_set
from services.contracts.actions import Answer, Query
from services.contracts.errors import BadInput
from services.contracts.observation import Observation
from services.contracts.policy import AnalystTurn, AnyTurn, Turn
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.episode import episode_of
from services.grader.grader import GoldGrader
from services.policy.tier.operations import read_operations


class Turns:
    """Reads the episodes of one run as their agents saw them."""

    def __init__(self, run: RunFolder) -> None:
        self._limits = run.manifest.config.limits
        self.task_set = open_task_set(run.manifest.task_set, run.manifest.task_set_hash)
        self._grader = GoldGrader.read(self.task_set.gold_path)
        self._catalogs: dict[str, DatabaseCatalog] = {}

    def last(self, row: dict[str, Any]) -> AnyTurn:
        """The whole episode, its last action included. Raises BadInput for a row of another task set."""
        task = self.task_set.tasks.get(row["task_id"])
        if task is None or task != task_of(row):
            raise BadInput(f"episode {row['episode_id']}: the task {row['task_id']} is not that of the task set")
        if task.database not in self._catalogs:
            self._catalogs[task.database] = self.task_set.catalog(task.database)
        turn = episode_of(task, self._catalogs[task.database], self._grader, 0, self._limits).turn(0)
        for number, step in enumerate(row["steps"], 1):
            turn = _then(turn, number, step)
        return turn


def before_operations(turn: Turn, otherwise: int) -> Turn:
    """The turn of the first statement that carries operations, or of exchange `otherwise`: what was known by then."""
    carrying = (
        place
        for place, exchange in enumerate(turn.history)
        if isinstance(exchange.action, Query) and read_operations(exchange.action.sql) is not None
    )
    return turn.model_copy(update={"history": turn.history[: next(carrying, otherwise)]})


def _then(turn: AnyTurn, number: int, step: dict[str, Any]) -> AnyTurn:
    action = action_of(step)
    if isinstance(turn, AnalystTurn):
        rows = json.loads(step["result"]) if step["result"] else []
        seen = turn.first.model_copy(update={"last_result": rows, "error_message": step["error"] or None})
        return turn.then(action, seen)
    left = turn.observation.budget_remaining - (not isinstance(action, Answer))
    shown: Observation = turn.first.model_copy(
        update={
            "result": step["result"],
            "error": step["error"],
            "step_count": number,
            "budget_remaining": max(0, left),
        }
    )
    return turn.then(action, shown)
