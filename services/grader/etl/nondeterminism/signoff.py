"""The sign-off file: every risk that only a person may accept, written for a person, read back as it was meant.

Invariant: an entry counts only for the very risk, of the very statements, that it was written for.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from services.contracts.errors import BadInput
from services.contracts.etl import ColumnRisk, EtlJob, SignOff
from services.contracts.record import Record

HEADER = """\
# What may differ from run to run in the output of this job, by its SQL. Nobody but you can say that this is all right.
# For each risk that you accept, write your name after signed_by and why after because; leave the others empty.
# A change of the job makes this file stale: have it written again. `column: null` is the set of rows as a whole.
"""
REFUSED_IN_TRAINING = frozenset("BCF")


class Entry(Record):
    """One risk and a person's answer."""

    column: str | None
    kind: str
    reason: str
    signed_by: str = ""
    because: str = ""


class SignOffFile(Record):
    """The whole file."""

    job: str
    task: str
    statements: str = Field(description="SHA-256 of the statements")
    risks: tuple[Entry, ...]


def open_risks(job: EtlJob) -> tuple[ColumnRisk, ...]:
    """The risks that nobody has answered for: all but E, the excluded columns' A and D, and those signed off."""
    signed = {(sign.column, sign.kind) for sign in job.sign_offs if sign.by.strip()}
    return tuple(risk for risk in job.risks if _needs_a_person(risk, job) and (risk.column, risk.kind) not in signed)


def _needs_a_person(risk: ColumnRisk, job: EtlJob) -> bool:
    if risk.kind == "E":
        return False
    return not (risk.kind in "AD" and risk.column is not None and risk.column in job.excluded)


def left_out(job: EtlJob) -> tuple[str, ...]:
    """The output columns that the comparison leaves out: the excluded ones, and those that a person let differ."""
    opened = {risk.column for risk in open_risks(job)}
    needing = {risk.column for risk in job.risks if _needs_a_person(risk, job)}
    names = (column.name for column in job.output_columns)
    return tuple(name for name in names if name in job.excluded or name in needing - opened)


def to_corroborate(job: EtlJob) -> tuple[str, ...]:
    """The columns that are left out as picks (class B), which tie-break corroboration has to vouch for."""
    picks = {risk.column for risk in job.risks if risk.kind == "B"}
    return tuple(name for name in left_out(job) if name in picks)


def admit(job: EtlJob, training: bool = False, file: Path | None = None) -> None:
    """Let a job pass if all of its risks are answered for. Raises BadInput, which names those that are not.

    In training nobody looks at what is accepted, so there a risk of class B, C or F refuses the job, signed or not.
    """
    refused = [risk for risk in job.risks if training and risk.kind in REFUSED_IN_TRAINING]
    if refused:
        raise BadInput(f"job {job.job_id} cannot be trained on: {_listed(refused)}")
    remaining = open_risks(job)
    if remaining:
        where = f" in {file}" if file is not None else ""
        raise BadInput(f"job {job.job_id} has risks that nobody has signed off{where}: {_listed(remaining)}")


def _listed(risks: Iterable[ColumnRisk]) -> str:
    return "; ".join(f"{_place(risk.column)} ({risk.kind}: {risk.reason})" for risk in risks)


def _place(column: str | None) -> str:
    return "the row set" if column is None else f"column {column}"


def write_sign_off(job: EtlJob, path: Path) -> None:
    """Write the file for a person: every risk that needs one, with what the job holds signed already."""
    signed = {(sign.column, sign.kind): sign for sign in job.sign_offs}
    entries = []
    for risk in job.risks:
        if _needs_a_person(risk, job):
            sign = signed.get((risk.column, risk.kind))
            by, because = (sign.by, sign.reason) if sign else ("", "")
            entries.append({**risk.model_dump(), "signed_by": by, "because": because})
    content = {"job": job.job_id, "task": job.task_key, "statements": _digest(job), "risks": entries}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    path.write_text(HEADER + text, encoding="utf-8")


def read_sign_offs(job: EtlJob, path: Path) -> tuple[SignOff, ...]:
    """The risks that a person has signed. Raises BadInput for a file that is damaged, stale, or of another job."""
    read = _parsed(path)
    if (read.job, read.task) != (job.job_id, job.task_key):
        raise BadInput(f"{path} is about task {read.task} of job {read.job}, not {job.task_key} of {job.job_id}")
    if read.statements != _digest(job):
        raise BadInput(f"{path} was written for other statements: remove it, have it written again and sign that")
    known: dict[tuple[str | None, str], ColumnRisk]
    known = {(risk.column, risk.kind): risk for risk in job.risks if _needs_a_person(risk, job)}
    seen: set[tuple[str | None, str]] = set()
    for entry in read.risks:
        _check(entry, known.get((entry.column, entry.kind)), path)
        if (entry.column, entry.kind) in seen:
            raise BadInput(f"{path}: {_place(entry.column)} has two entries of class {entry.kind}: keep one")
        seen.add((entry.column, entry.kind))
    return tuple(
        SignOff(column=entry.column, kind=entry.kind, by=entry.signed_by.strip(), reason=entry.because.strip())
        for entry in read.risks
        if entry.signed_by.strip()
    )


def _check(entry: Entry, risk: ColumnRisk | None, path: Path) -> None:
    said = f"{path}: the entry for {_place(entry.column)}, class {entry.kind},"
    if risk is None:
        raise BadInput(f"{said} is about no risk of this job: remove it, or have the file written again")
    if entry.reason.split() != risk.reason.split():
        raise BadInput(f"{said} is stale: the risk is now that {risk.reason}; have the file written again")
    if entry.signed_by.strip() and not entry.because.strip():
        raise BadInput(f"{said} is signed by {entry.signed_by.strip()} without saying why: write it after because")


def _parsed(path: Path) -> SignOffFile:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return SignOffFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(f"{path}: {place}: {first['msg']}") from error


def _digest(job: EtlJob) -> str:
    joined = "\0".join(job.statements)
    return hashlib.sha256(joined.encode()).hexdigest()
