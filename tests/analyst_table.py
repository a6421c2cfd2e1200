"""A table to play the analyst's tasks at: real databases, a real sandbox, the gold at hand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts.actions import Action, SQLAction
from services.contracts.statements import StatementOutcome
from services.env_actor.analyst.episode import BUDGET, AnalystEpisode
from services.env_actor.analyst.trials import TrialSandbox
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer
from services.grader.grader import GoldGrader
from services.sandbox.pool import SandboxPool

Said = str | Action
"""An action, or a statement that submits nothing."""


@dataclass
class AnalystTable:
    """Plays episodes without Ray."""

    task_set: TaskSet
    golds: dict[str, GoldAnswer]
    grader: GoldGrader
    pool: SandboxPool
    runner: asyncio.Runner

    def tasks(self, kind: str) -> list[str]:
        """The ids of the tasks of a kind."""
        return [task_id for task_id in self.task_set.tasks if task_id.startswith(kind)]

    def gold(self, task_id: str) -> str:
        """The gold query."""
        return self.golds[task_id].gold_sql

    def shown(self, task_id: str) -> str:
        """The query in the question that is to be mended."""
        return next(line for line in self.task_set.tasks[task_id].question.split("\n") if line.startswith("SELECT"))

    def start(self, task_id: str, budget: int = BUDGET) -> AnalystEpisode:
        """A new episode."""
        task = self.task_set.tasks[task_id]
        return AnalystEpisode(task, self.task_set.catalog(task.database), self.grader, budget)

    def play(self, task_id: str, said: Sequence[Said], budget: int = BUDGET) -> AnalystEpisode:
        """An episode after the actions, or as many of them as it lasts."""
        episode = self.start(task_id, budget)
        sandbox = TrialSandbox(self.pool, self.grader, task_id)
        for one in said:
            if episode.over:
                break
            action = SQLAction(sql_query=one) if isinstance(one, str) else one
            sql = episode.statement(action)
            database = self.task_set.tasks[task_id].database
            episode.apply(action, None if sql is None else self.runner.run(sandbox.run(database, sql))[0])
        return episode

    def score(self, task_id: str, sql: str) -> float:
        """The score of one statement."""
        return self.play(task_id, [sql]).score

    def run(self, database: str, sql: str) -> StatementOutcome:
        """The outcome of one statement on any database of the set."""
        return self.runner.run(self.pool.run(database, sql))[0]


def submit(sql: str = "") -> SQLAction:
    """The submission of a statement, or of the last one."""
    return SQLAction(sql_query=sql, is_done=True)
