"""From a task of production to a pinned job: tables found, SQL made DuckDB's, output bounded, contract kept."""

import difflib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlglot import exp

from cluster.etl.binding import fit_output
from cluster.etl.boundary import Boundary, find_boundary
from cluster.etl.catalog import Found, find_table
from cluster.etl.naming import short_name, short_names
from cluster.etl.pinning import Pins, contents_of, pin_files
from cluster.etl.statements import ReadStatements, check_output, read_statements
from cluster.etl.task import TaskSpec
from cluster.etl.timeline import parse_time
from cluster.etl.touched import touched_by
from cluster.etl.translate import Translation, translate
from cluster.etl.writing import OutputTable
from services.contracts.errors import BadInput
from services.contracts.etl import Contract, EtlJob, Mode
from services.grader.etl.contract import named_in, require_contract
from services.grader.etl.increment import mode_of, reads_of, write_of
from services.grader.tables.source import Stamps

_DOES = {"create": "makes", "insert": "adds rows to", "overwrite": "replaces rows of", "merge": "changes rows of"}


def prepare(task: TaskSpec) -> Pins:
    """Pin a task: the same task over the same tables gives the same pins. Raises BadInput, and Infrastructure where a
    file changes meanwhile.
    """
    read = read_statements(task.statements, task.dialect)
    output = short_name(task.output.name)
    check_output(read, output)
    mode = _mode(read, task, output)
    contract = short_contract(task.contract)
    as_of = None if task.started_at is None else parse_time(task.started_at, "started_at")
    sources = _sources(task, read, output, contract, as_of)
    boundary = find_boundary(task, output, mode, as_of)
    found = [*sources, *(() if boundary.before is None else (boundary.before,)), boundary.after]
    _refuse_results(sources, boundary)
    stamps = Stamps([Path(file) for each in found for file in each.table.files])
    files = pin_files(each.table for each in found)
    touched = _touched(boundary, contents_of(files))
    made = _made(read, mode, sources, boundary, touched)
    job = _job(task, mode, made, sources, boundary).model_copy(update={"touched": touched, "contract": contract})
    require_contract(contract, [*job.sources, *(() if job.before is None else (job.before,))])
    stamps.check()
    return Pins(job=job, resolutions=tuple(each.resolution for each in found if each.resolution), files=files)


def _mode(read: ReadStatements, task: TaskSpec, output: str) -> Mode:
    mode = mode_of(read.trees, output)
    if task.output.mode not in (None, mode):
        raise BadInput(f"output.mode: it says {task.output.mode}, but the statements {mode} {output}")
    return mode


def short_contract(contract: Contract) -> Contract:
    """The contract with the tables' short names."""
    return Contract(
        keys=tuple(c.model_copy(update={"table": short_name(c.table)}) for c in contract.keys),
        dependencies=tuple(c.model_copy(update={"table": short_name(c.table)}) for c in contract.dependencies),
        formats=tuple(c.model_copy(update={"table": short_name(c.table)}) for c in contract.formats),
        not_null=tuple(c.model_copy(update={"table": short_name(c.table)}) for c in contract.not_null),
        references=tuple(
            c.model_copy(update={"table": short_name(c.table), "target": short_name(c.target)})
            for c in contract.references
        ),
    )


def _sources(
    task: TaskSpec, read: ReadStatements, output: str, contract: Contract, as_of: datetime | None
) -> list[Found]:
    """The tables that the statements read or the contract is about, in the order of their names."""
    shorts = short_names(task.sources)
    addresses = {short: task.sources[name] for name, short in _by_given_name(task, shorts).items()}
    wanted = (set(reads_of(read.trees)) | (named_in(contract) & addresses.keys())) - {output}
    for name in sorted(wanted - addresses.keys()):
        near = difflib.get_close_matches(name, addresses, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"given are: {', '.join(sorted(addresses)) or 'none'}"
        raise BadInput(f"sources: the SQL reads {name}, and no source has that name; {hint}")
    return [find_table(name, addresses[name], as_of) for name in sorted(wanted)]


def _by_given_name(task: TaskSpec, shorts: dict[str, str]) -> dict[str, str]:
    return {name: shorts[name.lower()] for name in task.sources}


def _refuse_results(sources: Sequence[Found], boundary: Boundary) -> None:
    """A source with what the run itself wrote would show the agent production's output."""
    before = () if boundary.before is None else boundary.before.table.files
    written = set(boundary.after.table.files) - set(before)
    for source in sources:
        if written.intersection(source.table.files):
            raise BadInput(
                f"sources: {source.table.name} holds files that the run itself wrote: give an earlier version"
            )


def _touched(boundary: Boundary, contents: dict[str, str]) -> tuple[str, ...]:
    return () if boundary.before is None else touched_by(boundary.before, boundary.after, contents)


def _made(
    read: ReadStatements, mode: Mode, sources: Sequence[Found], boundary: Boundary, touched: tuple[str, ...]
) -> Translation:
    """The statements in DuckDB's SQL, seen to run and to give production's columns, and all changes."""
    after = boundary.after.table
    columns = tuple(column.name for column in after.columns)
    output = OutputTable(name=after.name, columns=columns, keys=boundary.after.keys, touched=touched)
    kept = [statement for statement in read.statements if mode == "create" or not _defines(statement.tree, after.name)]
    left_out = () if len(kept) == len(read.statements) else (f"CREATE TABLE IF NOT EXISTS {after.name} is left out",)
    if all(statement.text is not None for statement in kept):
        plain = Translation(statements=tuple(s.text for s in kept if s.text is not None), changes=())
    else:
        plain = translate([statement.tree for statement in kept], output)
    statements, casts = fit_output(plain.statements, [each.table for each in sources], after, mode)
    return Translation(statements=statements, changes=(*read.changes, *left_out, *plain.changes, *casts))


def _defines(tree: exp.Expr, output: str) -> bool:
    write = write_of(tree)
    return write is not None and write.table == output and write.deed == "define"


def _job(task: TaskSpec, mode: Mode, made: Translation, sources: Sequence[Found], boundary: Boundary) -> EtlJob:
    after = boundary.after.table
    return EtlJob(
        job_id=task.job_id,
        task_key=task.task_key,
        question=task.question or _question(task, mode, after.name, sources),
        statements=made.statements,
        output=after.name,
        mode=mode,
        output_columns=after.columns,
        sources=tuple(each.table for each in sources),
        before=None if boundary.before is None else boundary.before.table,
        after=after,
        history=tuple(sorted(task.history, key=lambda run: parse_time(run.started_at, "history.started_at"))),
        changes=(*task.changes, *made.changes),
    )


def _question(task: TaskSpec, mode: Mode, output: str, sources: Sequence[Found]) -> str:
    names = ", ".join(each.table.name for each in sources) or "no table"
    return (
        f"Task {task.task_key} of job {task.job_id} {_DOES[mode]} {output} from {names}. Rewrite its statements so "
        "that they cost less CPU time and leave exactly the same rows in the output."
    )
