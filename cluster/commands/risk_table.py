"""The risks of a job as people see them."""

import sys

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.contracts.etl import ColumnRisk
from services.contracts.record import Record
from services.grader.etl.nondeterminism.rerun import RerunReport

PLAIN_WIDTH = 120
out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)  # not cluster.console: it would import Ray
ROWS = "the rows"


class RiskReport(Record):
    """What `assay risks` found."""

    job: str
    task: str
    risks: tuple[ColumnRisk, ...]
    excluded: tuple[str, ...]
    open: tuple[ColumnRisk, ...] = Field(description="those that nobody has answered for")
    file: str | None = Field(description="where to sign them; None if nothing is open")
    proof: RerunReport | None


def print_risks(report: RiskReport) -> None:
    """Each risk with what becomes of it, and what the runs showed."""
    if not report.risks:
        out.print("By its SQL the output is the same in every run.")
    else:
        table = Table("column", "class", "what becomes of it", "why")
        for risk in report.risks:
            table.add_row(escape(risk.column or ROWS), risk.kind, _fate(risk, report), escape(risk.reason))
        out.print(table)
    if report.proof is not None:
        _print_proof(report.proof)
    if report.file is not None:
        out.print(f"If what is open is all right, sign {escape(report.file)}", soft_wrap=True, highlight=False)


def _fate(risk: ColumnRisk, report: RiskReport) -> str:
    if risk in report.open:
        return "open"
    if risk.kind == "E":
        return "tolerance"
    return "left out" if risk.column in report.excluded else "signed"


def _print_proof(proof: RerunReport) -> None:
    runs = len(proof.plan)
    differed = [escape(one.column or ROWS) for one in proof.columns if one.differed != "no"]
    out.print(f"In {runs} runs of the original differed: {', '.join(differed) or 'nothing'}", highlight=False)
    for risk in proof.found:
        out.print(f"Found: {escape(risk.column or ROWS)} ({risk.kind}): {escape(risk.reason)}", highlight=False)
