"""The nondeterminism classes of a job, from the SQL of the original alone, before anything runs.

A: by definition (clocks, random numbers, identifiers). B: an untied pick of a row. C: a value that follows the order of
the rows. D: a sample, or LIMIT without a total order. E: sums of floats, left to the tolerance. F: not understood
(helios-post.txt; grading-facts.md, "Nondeterministic columns").
"""

from collections.abc import Iterable

from pydantic import Field

from services.contracts.etl import ColumnRisk, Contract, EtlJob, PinnedTable
from services.contracts.record import Record
from services.grader.etl.nondeterminism.facts import Facts, Finding, Relation, hardened
from services.grader.etl.nondeterminism.frames import NotUnderstood
from services.grader.etl.nondeterminism.gate import excluded
from services.grader.etl.nondeterminism.statements import Tables, parsed


class Classification(Record):
    """What the SQL of a job says of its output, frozen with the job before an agent sees it."""

    risks: tuple[ColumnRisk, ...]
    excluded: tuple[str, ...]
    key: tuple[str, ...] | None = Field(default=None, description="output columns without risks that name a row")


def classify(job: EtlJob) -> Classification:
    """Every risk of a job's output, in a fixed order, and the columns that pass the gate (`gate.py`).

    The job's own `risks`, `sign_offs` and `excluded` are not looked at. What is not understood is one risk of class F
    about the row set, for nothing can be said of any column then.
    """
    try:
        relation = _called(_output(job), [column.name.lower() for column in job.output_columns])
    except NotUnderstood as error:
        return Classification(risks=(ColumnRisk(column=None, kind="F", reason=str(error)),), excluded=())
    return Classification(
        risks=_risks(job, relation),
        excluded=tuple(excluded(job.output_columns, relation)),
        key=_stable_key(job, relation),
    )


def classified(job: EtlJob) -> EtlJob:
    """The job with its risks and excluded columns, as they are frozen with it."""
    found = classify(job)
    return job.model_copy(update={"risks": found.risks, "excluded": found.excluded})


def _output(job: EtlJob) -> Relation:
    """What is known of the output table once all statements have run."""
    known = {table.name: relation_of_table(table, job.contract) for table in job.sources}
    if job.before is not None:
        known[job.output.lower()] = relation_of_table(job.before, job.contract, job.output.lower())
    tables = Tables(known)
    before = tables.find(job.output.lower())
    for tree in parsed(job.statements):
        tables.run(tree)
    after = tables.find(job.output.lower())
    if after is None or after is before:
        if tables.last is None:
            raise NotUnderstood(f"no statement writes {job.output}")
        return tables.last
    return after


def relation_of_table(table: PinnedTable, contract: Contract, name: str = "") -> Relation:
    """A pinned table as its contract knows it: stable, with keys and dependencies."""
    called = name or table.name
    keys = [clause for clause in contract.keys if clause.table.lower() == called]
    never_null = {column.lower() for clause in keys for column in clause.columns}
    never_null |= {clause.column.lower() for clause in contract.not_null if clause.table.lower() == called}
    columns = {
        column.name.lower(): Facts(
            floating=_is_float(column.type), present=column.name.lower() in never_null, type=column.type.upper()
        )
        for column in table.columns
    }
    dependencies = frozenset(
        (_lower(clause.determines), _lower(clause.dependent))
        for clause in contract.dependencies
        if clause.table.lower() == called
    )
    return Relation(columns, keys=frozenset(_lower(clause.columns) for clause in keys), dependencies=dependencies)


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _is_float(type_text: str) -> bool:
    return any(name in type_text.upper() for name in ("DOUBLE", "FLOAT", "REAL"))


def _risks(job: EtlJob, relation: Relation) -> tuple[ColumnRisk, ...]:
    risks = list(_summed(None, hardened(relation.rows, "the row set")))
    for column in job.output_columns:
        findings = relation.columns[column.name.lower()].findings
        if column.type.upper() not in ("FLOAT", "DOUBLE", "REAL"):
            findings = hardened(findings, f"the type {column.type}, which has no tolerance")
        risks.extend(_summed(column.name, findings))
    return tuple(risks)


def _stable_key(job: EtlJob, relation: Relation) -> tuple[str, ...] | None:
    """The smallest key whose columns have no findings: by the lineage, or declared of the output."""
    declared = [_lower(clause.columns) for clause in job.contract.keys if clause.table.lower() == job.output.lower()]
    stable = {name for name, facts in relation.columns.items() if not facts.findings}
    found = sorted(
        (key for key in (*relation.keys, *declared) if key <= stable), key=lambda key: (len(key), sorted(key))
    )
    if not found or hardened(relation.rows, "the row set"):
        return None
    return tuple(column.name for column in job.output_columns if column.name.lower() in found[0])


def _called(relation: Relation, declared: list[str]) -> Relation:
    """The relation with the output's names: an expression without an alias has another name in the engine.

    Raises NotUnderstood if the columns are not the declared ones.
    """
    names = list(relation.columns)
    if sorted(names) == sorted(declared):
        return relation
    unnamed = len(names) == len(declared) and all(
        mine == theirs or mine not in declared for mine, theirs in zip(names, declared, strict=True)
    )
    if not unnamed:
        raise NotUnderstood(f"the statements give {', '.join(names)}, the output has {', '.join(declared)}")
    return relation.renamed(declared)


def _summed(column: str | None, findings: Iterable[Finding]) -> Iterable[ColumnRisk]:
    """One risk for each class, with all its reasons."""
    reasons: dict[str, list[str]] = {}
    for one in sorted(findings, key=lambda finding: (finding.kind, finding.reason)):
        reasons.setdefault(one.kind, []).append(one.reason)
    for kind, said in reasons.items():
        yield ColumnRisk.model_validate({"column": column, "kind": kind, "reason": "; ".join(dict.fromkeys(said))})
