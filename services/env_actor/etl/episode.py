"""One ETL episode: what an action does, what it costs, and when it is over.

Invariant: the reward is the grade's; without a submission it is 0, and where the machine failed there is none, because
the bench raises and no episode is left to be graded.
"""

import time
from collections.abc import Callable
from copy import copy
from typing import assert_never

from services.contracts.etl import (
    Analyze,
    BenchReply,
    EtlAction,
    EtlBench,
    EtlGrade,
    EtlJob,
    EtlMalformed,
    EtlObservation,
    EtlTurn,
    Explain,
    Probe,
    ReadyProbe,
    RunRewrite,
    Submit,
    Verify,
)
from services.contracts.grading import Verdict
from services.contracts.record import Record
from services.env_actor.etl.budgets import EtlBudgets, EtlTruncation, Spent
from services.env_actor.etl.probes import probe_sql
from services.env_actor.etl.rendering import first_observation, source_tables


class EtlStep(Record):
    """An action and what came of it."""

    action: EtlAction
    observation: EtlObservation
    reply: BenchReply
    wall_s: float


class EtlEpisode:
    """The state of one episode. Call `apply` for each action until it is over. Raises what the bench raises."""

    def __init__(
        self, job: EtlJob, bench: EtlBench, budgets: EtlBudgets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._job = job
        self._bench = bench
        self._budgets = budgets
        self._clock = clock
        self._first = first_observation(job, budgets.steps)
        self._ran: tuple[str, ...] | None = None
        self._ran_cpu_s = 0.0
        self._best = ""
        self._best_cpu_s = float("inf")
        self.spent = Spent()
        self.steps: list[EtlStep] = []
        self.grade: EtlGrade | None = None
        self.truncation: EtlTruncation | None = None

    def at(self, bench: EtlBench) -> "EtlEpisode":
        """The same episode, to go on at another bench; what is applied to either is not applied to the other."""
        other = copy(self)
        other._bench = bench
        other.steps = list(self.steps)
        return other

    @property
    def ran(self) -> tuple[str, ...] | None:
        """The rewrite that ran last, which a new bench has to run before it can verify it."""
        return self._ran

    @property
    def observation(self) -> EtlObservation:
        """What the agent sees now."""
        return self.steps[-1].observation if self.steps else self._first

    @property
    def over(self) -> bool:
        """No further action is taken."""
        return self.grade is not None or self.truncation is not None

    def turn(self, seed: int) -> EtlTurn:
        """The decision that is due."""
        return EtlTurn(
            job_id=self._job.job_id,
            task_key=self._job.task_key,
            seed=seed,
            first=self._first,
            history=tuple((step.action, step.observation) for step in self.steps),
            tables=source_tables(self._job),
            contract=self._job.contract,
        )

    def apply(self, action: EtlAction) -> EtlStep:
        """Take one action. Raises Infrastructure where the machine failed: then nothing of the episode is graded."""
        if self.over:
            raise ValueError("the episode is over")
        started = self._clock()
        reply = self._act(action)
        wall_s = self._clock() - started
        self.spent = self.spent.after(reply, wall_s)
        if self.grade is None:
            self.truncation = self.spent.over(self._budgets)
        step = EtlStep(action=action, observation=self._observation(reply), reply=reply, wall_s=wall_s)
        self.steps.append(step)
        return step

    def verdict(self) -> Verdict:
        """The verdict of an episode that is over."""
        if self.grade is not None:
            return self.grade.verdict
        return "no_submission" if self.truncation == "steps" else "resource_exceeded"

    def reward(self) -> float | None:
        """The reward of an episode that is over; None if it could not be graded."""
        return self.grade.reward if self.grade is not None else 0.0

    def _act(self, action: EtlAction) -> BenchReply:
        match action:
            case Explain():
                return self._bench.explain(action.sql)
            case Analyze():
                return self._bench.analyze(action.sql)
            case Probe():
                return self._bench.probe(action.sql)
            case ReadyProbe():
                sql = probe_sql(action, self._job)
                return self._bench.probe(sql) if sql else BenchReply(error=f"no column {action.table}.{action.column}")
            case RunRewrite():
                return self._run(action)
            case Verify():
                return self._verify()
            case Submit():
                return self._submit()
            case EtlMalformed():
                return BenchReply(error=f"no action: {action.reason}")
            case _:
                assert_never(action)

    def _run(self, action: RunRewrite) -> BenchReply:
        reply = self._bench.run(action.statements)
        self._ran = None if reply.error else action.statements
        self._ran_cpu_s = reply.cpu_s
        return reply

    def _verify(self) -> BenchReply:
        reply = self._bench.verify()
        if reply.equal and self._ran is not None and self._ran_cpu_s < self._best_cpu_s:
            self._best_cpu_s = self._ran_cpu_s
            self._best = f"step {len(self.steps)}: equal, {self._ran_cpu_s:.3f} CPU s in one run"
        return reply

    def _submit(self) -> BenchReply:
        if self._ran is None:
            return BenchReply(error="nothing to submit: RUN a rewrite first")
        self.grade = self._bench.submit(self._ran)
        return BenchReply(text=f"{self.grade.verdict}: {self.grade.reason}")

    def _observation(self, reply: BenchReply) -> EtlObservation:
        return self._first.model_copy(
            update={
                "result": reply.text,
                "error": reply.error,
                "step_count": self.spent.steps,
                "budget_remaining": max(0, self._budgets.steps - self.spent.steps),
                "best": self._best,
            }
        )
