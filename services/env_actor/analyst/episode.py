"""One episode of the analyst: what a statement shows and what it earns (sql-data-analyst-prd §2–§5).

The episode does no I/O. A statement is handed out, and what TrialSandbox made of it is handed back, so that the rollout
actor, a server and a regrade drive the same code.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from services.contracts.actions import Action, Malformed, SQLAction, history_line
from services.contracts.grading import QueryGrader, Verdict
from services.contracts.observation import SQLObservation
from services.contracts.policy import AnalystTurn
from services.contracts.statements import Cell, LimitHit, Refused, ResultTable, SqlError, StatementOutcome
from services.contracts.tasks import Task
from services.contracts.trajectory import Step, TruncationReason
from services.contracts.trials import TrialNote, Tried
from services.env_actor.analyst.rewards import AnalystLedger, is_complete
from services.env_actor.analyst.showing import rows_shown
from services.env_actor.catalog import DatabaseCatalog

BUDGET = 10
HISTORY_SHOWN = 4
_UNBOUND = ("Parser Error", "Binder Error", "Catalog Error", "Table ")
"""How the engine's message begins for a statement that does not bind, and the guard's for a table that is not there."""


@dataclass(frozen=True)
class Submission:
    """What came of the last statement: its score, or why it has none."""

    score: float = 0.0
    unfit: Verdict | None = None


@dataclass(frozen=True)
class Shown:
    """What a step shows, before it is paid."""

    submission: Submission | None = None
    rows: Sequence[dict[str, Cell]] = ()
    error: str = ""
    invalid: bool = False
    outcome: StatementOutcome | None = None
    notes: tuple[TrialNote, ...] | None = None
    score: float | None = None


class AnalystEpisode:
    """The state of one episode. Call `apply` for each action until it is terminated or truncated."""

    def __init__(self, task: Task, catalog: DatabaseCatalog, grader: QueryGrader, budget: int = BUDGET) -> None:
        self._task = task
        self._grader = grader
        self._budget = budget
        self._ledger = AnalystLedger(budget)
        self._schema = {table.name: dict(table.columns) for table in catalog.tables}
        self._submission: Submission | None = None
        self.steps: list[Step] = []
        self.terminated = False
        self.truncation: TruncationReason | None = None

    @property
    def over(self) -> bool:
        """No further action is taken."""
        return self.terminated or self.truncation is not None

    @property
    def score(self) -> float:
        """The grader's score in [0, 1] of the last statement; in the end, that of the submission."""
        return self._submission.score if self._submission is not None else 0.0

    def reset(self) -> SQLObservation:
        """The first observation: the question and the whole schema."""
        return self._observation((), "")

    def turn(self, seed: int) -> AnalystTurn:
        """The first decision that a policy has to take."""
        return AnalystTurn(task_id=self._task.task_id, seed=seed, first=self.reset(), history=())

    def statement(self, action: Action) -> str | None:
        """The SQL that must be run before `apply`, if the action has any."""
        return action.sql_query if isinstance(action, SQLAction) and action.sql_query.strip() else None

    def apply(self, action: Action, outcome: StatementOutcome | Tried | None = None) -> SQLObservation:
        """Take one action; `outcome` is that of `statement(action)` in a TrialSandbox. Returns what the agent sees."""
        if self.over:
            raise ValueError("the episode is over")
        shown = self._act(action, outcome)
        done = isinstance(action, SQLAction) and action.is_done
        self._submission = shown.submission if shown.submission is not None else self._submission
        components = self._ledger.step(shown.score, shown.invalid, done and is_complete(self.score))
        text = json.dumps(shown.rows, ensure_ascii=False) if shown.outcome is not None and not shown.error else ""
        self.steps.append(
            Step(
                action=action,
                result=text,
                error=shown.error,
                outcome=shown.outcome,
                components=components,
                reward=components.total(),
                score=shown.score,
                trials=shown.notes,
            )
        )
        self.terminated = done
        if not done and len(self.steps) >= self._budget:
            self.truncation = "budget"
        return self._observation(shown.rows, shown.error)

    def truncate(self, reason: TruncationReason) -> None:
        """End the episode at a limit; what was earned stays."""
        self.truncation = reason

    def verdict(self) -> Verdict:
        """The verdict of an episode that is over: correct if what it submitted scores at least 0.80."""
        if not self.terminated:
            return "resource_exceeded" if self.truncation == "deadline" else "no_submission"
        if self._submission is None:
            return "no_submission"
        return self._submission.unfit or ("correct" if is_complete(self._submission.score) else "incorrect")

    def reward(self) -> float:
        """The sum of the rewards of all steps."""
        return sum(step.reward for step in self.steps)

    def _act(self, action: Action, outcome: StatementOutcome | Tried | None) -> Shown:
        match action:
            case SQLAction() if action.sql_query.strip():
                if outcome is None:
                    raise ValueError("a statement needs its outcome")
                return self._judge(action.sql_query, outcome if isinstance(outcome, Tried) else Tried(outcome=outcome))
            case SQLAction():
                return Shown() if action.is_done else Shown(error="sql_query is empty", invalid=True)
            case Malformed():
                return Shown(error=f"no action: {action.reason}", invalid=True)
            case _:
                raise ValueError(f"the analyst has no action {action.kind}")

    def _judge(self, sql: str, tried: Tried) -> Shown:
        found = tried.outcome
        match found:
            case ResultTable():
                score = self._grader.score(self._task.task_id, sql, found, tried.trials)
                notes = tuple(trial.note() for trial in tried.trials)
                return Shown(Submission(score), rows_shown(found), outcome=found, notes=notes, score=score)
            case Refused():
                return Shown(Submission(unfit="invalid_sql"), error=found.message, invalid=True, outcome=found)
            case SqlError():
                unbound = found.message.startswith(_UNBOUND)
                return Shown(Submission(unfit="invalid_sql"), error=found.message, invalid=unbound, outcome=found)
            case LimitHit():
                return Shown(Submission(unfit="resource_exceeded"), error=found.message, outcome=found)
            case _:
                assert_never(found)

    def _observation(self, rows: Sequence[dict[str, Cell]], error: str) -> SQLObservation:
        return SQLObservation(
            question=self._task.question,
            task_id=self._task.task_id,
            schema=self._schema,
            last_result=list(rows),
            error_message=error or None,
            step_history=tuple(history_line(step.action) for step in self.steps[-HISTORY_SHOWN:]),
        )
