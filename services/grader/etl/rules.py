"""How the outputs of a job are compared: which columns are left out, and which floats may drift."""

from services.contracts.etl import EtlJob
from services.grader.etl.nondeterminism.signoff import left_out
from services.grader.tables.schema import FLOATS
from services.grader.tables.verdict import TableRules


def table_rules(job: EtlJob, examples: int) -> TableRules:
    """How outputs are compared: exactly, but for columns whose floats may be added up in another order (class E)."""
    ignored = left_out(job)
    loose = {risk.column.lower() for risk in job.risks if risk.kind == "E" and risk.column is not None}
    exact = tuple(
        column.name
        for column in job.output_columns
        if column.type in FLOATS and column.name.lower() not in loose and column.name not in ignored
    )
    return TableRules(key=exact, ignore=ignored, examples=examples)
