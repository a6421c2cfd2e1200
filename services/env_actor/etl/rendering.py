"""What an agent is told of a job, as text: its tables, its contract. No path, and nothing of production's output."""

from collections.abc import Iterator

from services.contracts.etl import Contract, EtlJob, EtlObservation, SourceTable


def source_tables(job: EtlJob) -> tuple[SourceTable, ...]:
    """The sources, without where they lie."""
    return tuple(SourceTable(name=table.name, columns=table.columns, rows=table.rows) for table in job.sources)


def first_observation(job: EtlJob, steps: int) -> EtlObservation:
    """The job as the agent meets it."""
    return EtlObservation(
        question=job.question or f"Make {job.task_key} cheaper: the same rows in {job.output}, in less CPU time.",
        original=job.statements,
        sources="\n".join(map(_table, source_tables(job))),
        contract="\n".join(contract_lines(job.contract)) or "nothing is declared",
        budget_remaining=steps,
    )


def _table(table: SourceTable) -> str:
    columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    return f"{table.name} ({columns}): {table.rows} rows"


def contract_lines(contract: Contract) -> Iterator[str]:
    """Each clause in one line."""
    for key in contract.keys:
        yield f"key of {key.table}: {', '.join(key.columns)}"
    for dependency in contract.dependencies:
        yield f"in {dependency.table}: {', '.join(dependency.determines)} determine {', '.join(dependency.dependent)}"
    for shape in contract.formats:
        yield f"format of {shape.table}.{shape.column}: {shape.pattern}"
    for column in contract.not_null:
        yield f"not null: {column.table}.{column.column}"
    for reference in contract.references:
        target = f"{reference.target} ({', '.join(reference.target_columns)})"
        yield f"{reference.table} ({', '.join(reference.columns)}) refers to {target}"
