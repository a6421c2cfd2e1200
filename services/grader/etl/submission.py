"""A submission as it is stored, and its grade, which is a function of it alone.

Invariant: nothing is paid unless the outputs were equal wherever they were compared; a broken machine leaves no record.
"""

from typing import Literal

from pydantic import Field

from services.contracts.etl import EtlGrade, EtlJob
from services.contracts.grading import Verdict
from services.contracts.record import Record
from services.grader.etl.asking import Refused
from services.grader.runtime.baseline import GainSplit
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.pay import PayRules, pay
from services.grader.runtime.run import Stopped, StopReason
from services.grader.runtime.verdict import derive
from services.grader.tables.schema import FLOATS
from services.grader.tables.verdict import Comparison, TableRules

Where = Literal["production", "dropped", "permuted", "shuffled", "edges", "timed"]
_LIMITS: tuple[StopReason, ...] = ("memory", "deadline")


class Check(Record):
    """The rewrite's output beside the one that it must equal: production's, or the original's on other data."""

    where: Where
    seed: int | None = Field(default=None, description="of the variant; None: the pinned data")
    comparison: Comparison | None = Field(default=None, description="None: the rewrite put nothing out")
    stopped: Stopped | None = Field(default=None, description="why it put nothing out")

    @property
    def equal(self) -> bool:
        """Whether the outputs are equal."""
        return self.comparison is not None and self.comparison.equal


class Submission(Record):
    """Everything that a submission was judged by."""

    statements: tuple[str, ...]
    ran: tuple[str, ...] = Field(default=(), description="as the write guard put them together")
    refused: Refused | None = None
    checks: tuple[Check, ...] = ()
    void: tuple[str, ...] = Field(default=(), description="variants on which the original itself cannot run")
    measurement: Measurement | None = None
    split: GainSplit | None = Field(default=None, description="of the gain over production's history, if there is one")
    rules: PayRules = PayRules()


def grade_of(submission: Submission) -> EtlGrade:
    """The grade, derived from what is stored."""
    mode = submission.rules.mode
    if submission.refused is not None:
        verdict: Verdict = "invalid_sql" if submission.refused.reason in ("syntax", "unknown") else "violation"
        return EtlGrade(verdict=verdict, reward=0.0, equal=False, reason=submission.refused.message, pay_mode=mode)
    wrong = next((check for check in submission.checks if not check.equal), None)
    if wrong is not None or not submission.checks:
        return _unequal(wrong, mode)
    if submission.measurement is None:
        return EtlGrade(verdict="ungraded", reward=None, equal=True, reason="it was not timed", pay_mode=mode)
    finding = derive(submission.measurement)
    paid = pay(finding, True, submission.rules)
    if finding.unfit is not None:
        ours = finding.unfit.side == "rewrite"
        reason = f"{finding.unfit.side}: {finding.unfit.reason}: {finding.unfit.message}"
        stop: Verdict = "incorrect" if ours else "ungraded"
        return EtlGrade(verdict=stop, reward=paid, equal=False, reason=reason, pay_mode=mode)
    return EtlGrade(
        verdict="correct",
        reward=paid,
        equal=True,
        reason=f"equal in {len(submission.checks)} comparisons; {finding.verdict}",
        speed_up=finding.speed_up,
        lower_bound=finding.low,
        pay_mode=mode,
    )


def _unequal(wrong: Check | None, mode: str) -> EtlGrade:
    if wrong is None:
        return EtlGrade(verdict="ungraded", reward=None, equal=False, reason="nothing was compared", pay_mode=mode)
    verdict: Verdict = "incorrect"
    where = "production's output" if wrong.where == "production" else f"the original's output on {wrong.where} rows"
    reason = f"it differs from {where}"
    if wrong.stopped is not None:
        verdict = "resource_exceeded" if wrong.stopped.reason in _LIMITS else "incorrect"
        verdict = "invalid_sql" if wrong.stopped.reason == "sql_error" and wrong.where == "production" else verdict
        reason = f"on {wrong.where} rows: {wrong.stopped.reason}: {wrong.stopped.message}"
    elif wrong.comparison is not None:
        reason += f": {counts_of(wrong.comparison)}"
    return EtlGrade(verdict=verdict, reward=0.0, equal=False, reason=reason, pay_mode=mode)


def counts_of(found: Comparison) -> str:
    """What a comparison came to in one line, without a value of either side."""
    if found.schema_differences:
        columns = ", ".join(sorted({difference.column for difference in found.schema_differences}))
        return f"the columns do not agree: {columns}"
    rows = f"{found.left_rows} and {found.right_rows} rows"
    if found.missing is None:
        return rows
    columns = ", ".join(sorted({column for example in found.counterexamples for column in example.columns}))
    counts = f"{rows}; {found.missing} missing, {found.extra} extra, {found.changed} changed"
    return f"{counts}; columns that differ: {columns}" if columns else counts


def ignored_columns(job: EtlJob) -> tuple[str, ...]:
    """Output columns that are left out: excluded with the task, or signed for by a person."""
    signed = {sign.column.lower() for sign in job.sign_offs if sign.column is not None}
    excluded = {column.lower() for column in job.excluded}
    return tuple(column.name for column in job.output_columns if column.name.lower() in signed | excluded)


def table_rules(job: EtlJob, examples: int) -> TableRules:
    """How outputs are compared: exactly, but for columns whose floats may be added up in another order (class E)."""
    ignored = ignored_columns(job)
    loose = {risk.column.lower() for risk in job.risks if risk.kind == "E" and risk.column is not None}
    exact = tuple(
        column.name
        for column in job.output_columns
        if column.type in FLOATS and column.name.lower() not in loose and column.name not in ignored
    )
    return TableRules(key=exact, ignore=ignored, examples=examples)
