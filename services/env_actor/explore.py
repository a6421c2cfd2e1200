"""One explore episode: what an action does and what it earns (sqlenv-v1-spec §2–§3).

The episode does no I/O. A QUERY is handed out as a statement to run, and its outcome is handed back, so that the
rollout actor, a server and a regrade from stored outcomes drive the same code.
"""

from dataclasses import dataclass
from typing import assert_never

from services.contracts.actions import (
    Action,
    Answer,
    Describe,
    ExploreAction,
    Malformed,
    Query,
    Sample,
    SQLAction,
    history_line,
)
from services.contracts.grading import AnswerGrader, Found, RewardComponents, Verdict, Verification
from services.contracts.observation import Observation
from services.contracts.policy import Turn
from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError, StatementOutcome
from services.contracts.tasks import Task
from services.contracts.trajectory import Step, TruncationReason
from services.contracts.trials import Tried
from services.env_actor.catalog import DatabaseCatalog, TableCatalog
from services.env_actor.render import result_text
from services.env_actor.rewards import RewardLedger


@dataclass(frozen=True)
class Shown:
    """What a step shows and earns, before it is counted."""

    components: RewardComponents
    result: str = ""
    error: str = ""
    outcome: StatementOutcome | None = None


class ExploreEpisode:
    """The state of one episode. Call `apply` for each action until it is terminated or truncated."""

    def __init__(
        self,
        task: Task,
        catalog: DatabaseCatalog,
        grader: AnswerGrader,
        seed: int,
        budget: int,
        structure: float = 0.0,
    ) -> None:
        self._task = task
        self._catalog = catalog
        self._grader = grader
        self._seed = seed
        self._budget = budget
        self._compares_structure = structure > 0
        self._ledger = RewardLedger(structure)
        self._schema_info = catalog.schema_info()
        self._answered: Verdict = "incorrect"
        self._history: tuple[str, ...] = ()
        self._samples: dict[str, str] = {}
        self.steps: list[Step] = []
        self.terminated = False
        self.truncation: TruncationReason | None = None
        self.verification: Verification | None = None

    @property
    def over(self) -> bool:
        """No further action is taken."""
        return self.terminated or self.truncation is not None

    def reset(self) -> Observation:
        """The first observation: the question and the table names (§2.5)."""
        return self._observation("", "")

    def turn(self, seed: int) -> Turn:
        """The first decision that a policy has to take."""
        return Turn(task_id=self._task.task_id, seed=seed, first=self.reset(), history=())

    def statement(self, action: Action) -> str | None:
        """The SQL that must be run before `apply`, if the action is a QUERY."""
        return action.sql if isinstance(action, Query) else None

    def found(self) -> list[Found]:
        """The statements so far that gave rows: what an answer may rest on."""
        return [
            Found(step=number, sql=step.action.sql, result=step.outcome)
            for number, step in enumerate(self.steps, 1)
            if isinstance(step.action, Query) and isinstance(step.outcome, ResultTable)
        ]

    def apply(self, action: Action, outcome: StatementOutcome | Tried | None = None) -> Observation:
        """Take one action; `outcome` is that of `statement(action)`. Returns what the agent sees next.

        Before an ANSWER, `verification` is set where variants are asked; else the answer itself decides.
        """
        if self.over:
            raise ValueError("the episode is over")
        if isinstance(action, SQLAction) or isinstance(outcome, Tried):
            raise ValueError("explore has no SQL action, and no trials")
        shown = self._act(action, outcome)
        reward = self._ledger.pay(shown.components)
        self.steps.append(
            Step(
                action=action,
                result=shown.result,
                error=shown.error,
                outcome=shown.outcome,
                components=shown.components,
                reward=reward,
            )
        )
        self._history = (*self._history, history_line(action))
        if isinstance(action, Answer):
            self.terminated = True
        elif len(self.steps) >= self._budget:
            self.truncation = "budget"
        return self._observation(shown.result, shown.error)

    def truncate(self, reason: TruncationReason) -> None:
        """End the episode at a limit; what was earned stays."""
        self.truncation = reason

    def verdict(self) -> Verdict:
        """The verdict of an episode that is over."""
        if self.terminated:
            return self._answered
        return "resource_exceeded" if self.truncation == "deadline" else "no_submission"

    def reward(self) -> float:
        """R_episode: the sum of the rewards paid (§3.4)."""
        return sum(step.reward for step in self.steps)

    def _act(self, action: ExploreAction, outcome: StatementOutcome | None) -> Shown:
        match action:
            case Describe() | Sample():
                return self._look(action)
            case Query():
                if outcome is None:
                    raise ValueError("a QUERY needs the outcome of its statement")
                return self._query(action.sql, outcome)
            case Answer():
                self._answered = self._judge(action)
                return Shown(self._ledger.answer(self._answered == "correct"), result="answer submitted")
            case Malformed():
                return Shown(self._ledger.mistake(), error=f"no action: {action.reason}")
            case _:
                assert_never(action)

    def _judge(self, answer: Answer) -> Verdict:
        if self.verification is not None:
            return self.verification.verdict
        return "correct" if self._grader.is_correct(self._task.task_id, answer.value) else "incorrect"

    def _look(self, action: Describe | Sample) -> Shown:
        table = self._catalog.find(action.table)
        if table is None:
            return Shown(self._ledger.mistake(), error=f"no such table: {action.table[:100]}. {self._schema_info}")
        columns = [name.lower() for name, _ in table.columns]
        components = self._ledger.look(action.kind, table.name.lower(), columns)
        return Shown(components, result=table.describe() if isinstance(action, Describe) else self._sampled(table))

    def _sampled(self, table: TableCatalog) -> str:
        """The table's sample, which is the same for the whole episode."""
        if table.name not in self._samples:
            self._samples[table.name] = table.sample(self._seed)
        return self._samples[table.name]

    def _query(self, sql: str, outcome: StatementOutcome) -> Shown:
        match outcome:
            case ResultTable():
                nearness = self._grader.progress(self._task.task_id, outcome)
                alike = self._grader.likeness(self._task.task_id, sql) if self._compares_structure else 0.0
                components = self._ledger.query(outcome, nearness, alike)
                return Shown(components, result=result_text(outcome), outcome=outcome)
            case Refused() | SqlError() | LimitHit():
                return Shown(self._ledger.mistake(), error=outcome.message, outcome=outcome)
            case _:
                assert_never(outcome)

    def _observation(self, result: str, error: str) -> Observation:
        taken = len(self.steps) - self.terminated  # the ANSWER that ended it costs none
        return Observation(
            question=self._task.question,
            schema_info=self._schema_info,
            result=result,
            error=error,
            step_count=len(self.steps),
            budget_remaining=max(0, self._budget - taken),
            action_history=self._history,
        )
