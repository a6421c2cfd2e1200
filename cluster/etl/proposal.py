"""The proposal: what is to be changed, why it is equal, what it saves, and everything that was done to find out.

proposal.md and proposal.html say the same; both are made of what is stored beside them.
"""

import difflib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import sqlglot
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlglot.errors import SqlglotError

from cluster.etl.pinning import Pins
from services.contracts.etl import EtlGrade, EtlJob, PinnedTable
from services.contracts.grading import Verdict
from services.contracts.record import Record
from services.env_actor.etl.episode import EtlStep
from services.env_actor.etl.rendering import contract_lines
from services.grader.etl.submission import Check, Submission, counts_of, ignored_columns
from services.grader.runtime.run import Run
from services.grader.runtime.verdict import Finding, derive
from services.grader.tables.verdict import Comparison

TEMPLATES = Path(__file__).parent
_SHOWN = 300
_WHERE = {
    "production": "production's pinned output",
    "dropped": "the original, with four rows in ten left out",
    "permuted": "the original, with the rows in another order",
    "shuffled": "the original, with values moved between rows, NULLs and doubles",
    "edges": "the original, with values at the edges of their types",
    "timed": "the original, in one of the timed pairs",
}


class Proposal(Record):
    """Everything that a proposal says."""

    pins: Pins
    policy: str
    proposed: bool
    verdict: Verdict
    reward: float | None
    grade: EtlGrade | None
    submission: Submission | None
    baseline: Run
    reproduced: Comparison
    steps: tuple[EtlStep, ...]

    @property
    def job(self) -> EtlJob:
        """The job."""
        return self.pins.job

    @cached_property
    def finding(self) -> Finding | None:
        """What the timed pairs say."""
        measured = self.submission.measurement if self.submission else None
        return derive(measured) if measured is not None else None

    @property
    def rewrite(self) -> tuple[str, ...]:
        """The statements that were submitted."""
        return self.submission.statements if self.submission else ()

    @property
    def tables(self) -> tuple[tuple[str, PinnedTable], ...]:
        """Every pinned table with what it is to the job."""
        before = (("output before the run", self.job.before),) if self.job.before else ()
        return (*(("source", table) for table in self.job.sources), *before, ("output after the run", self.job.after))

    @property
    def ignored(self) -> tuple[str, ...]:
        """Output columns that were not compared."""
        return ignored_columns(self.job)

    @property
    def contract(self) -> tuple[str, ...]:
        """The clauses that the rewrite may rely on."""
        return tuple(contract_lines(self.job.contract))

    @property
    def diff(self) -> str:
        """The change, statement by statement, formatted alike on both sides."""
        return "\n".join(
            difflib.unified_diff(_lines(self.job.statements), _lines(self.rewrite), "original", "rewrite", lineterm="")
        )


def write_proposal(proposal: Proposal, out: Path) -> None:
    """Write proposal.md and proposal.html."""
    for name in ("proposal.md", "proposal.html"):
        (out / name).write_text(render(proposal, name), encoding="utf-8")


def render(proposal: Proposal, name: str) -> str:
    """The proposal as one page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cut=_cut, cell=_cell)
    shown = {"p": proposal, "said": check_said, "where": _WHERE, "saved": saved, "fence": _fence(proposal)}
    return environment.get_template(f"{name}.j2").render(**shown)


def check_said(check: Check) -> str:
    """One comparison in a line."""
    if check.comparison is not None:
        return f"{check.comparison.verdict.replace('_', ' ')}: {counts_of(check.comparison)}"
    return f"{check.stopped.reason}: {check.stopped.message}" if check.stopped else "not compared"


def saved(speed_up: float) -> str:
    """The share of CPU time that a speed-up saves."""
    return f"{1 - 1 / speed_up:.1%}"


def _lines(statements: Sequence[str]) -> list[str]:
    return [line for sql in statements for line in (*_pretty(sql).split("\n"), ";")]


def _pretty(sql: str) -> str:
    try:
        return sqlglot.parse_one(sql, read="duckdb").sql("duckdb", pretty=True)
    except (SqlglotError, RecursionError):
        return sql


def _fence(proposal: Proposal) -> str:
    """A fence that no text of the proposal closes."""
    text = "\n".join((*proposal.job.statements, *proposal.rewrite, proposal.diff))
    ticks = 3
    while "`" * ticks in text:
        ticks += 1
    return "`" * ticks


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"


def _cell(text: str) -> str:
    """Text that stays in its cell of a Markdown table, and is no mark-up."""
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\|<>*_`[]"})
    return " ".join(text.split()).translate(marks)
