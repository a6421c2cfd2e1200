"""Writes the sources of a built-in job as Parquet, runs the original over them, and freezes both as a job.

Invariant: the same job, scale and seed give the same rows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from cluster.etl.builtin.domain import JobSpec, TableSpec
from services.contracts.etl import EtlJob, PinnedTable, ProductionRun, TableColumn

SCALES: Mapping[str, float] = {"tiny": 0.002, "small": 0.05, "quarter": 0.25, "medium": 1.0, "large": 8.0}
_FEWEST = 60
_MEMORY = "6GB"
_PRODUCTION_AT = datetime(2025, 1, 1, 2, 0, tzinfo=UTC)
_RUNS = 6


def build(spec: JobSpec, folder: Path, scale: str = "small", seed: int = 1, factor: float | None = None) -> EtlJob:
    """The job over its sources, written into FOLDER; production's output is what the original makes of them.

    `factor` multiplies the rows of the medium scale, in the place of a named scale.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows_of(spec.tables, SCALES[scale] if factor is None else factor)
    with duckdb.connect(
        config={"threads": 2, "memory_limit": _MEMORY, "temp_directory": str(folder / "spill")}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sources = tuple(_write(connection, table, rows, seed, folder) for table in spec.tables)
        for source in sources:
            connection.execute(f"CREATE VIEW {source.name} AS FROM read_parquet({list(source.files)})")
        before = None
        if spec.before:
            connection.execute(f"CREATE TABLE {spec.output} AS {spec.before}")
            before = _export(connection, spec.output, folder / "before.parquet")
        started = datetime.now(UTC)
        for statement in spec.statements:
            connection.execute(statement)
        took = (datetime.now(UTC) - started).total_seconds()
        after = _export(connection, spec.output, folder / "after.parquet")
    return _frozen(spec, sources, before, after, took)


def rows_of(tables: Sequence[TableSpec], factor: float) -> dict[str, int]:
    """The rows of each table."""
    return {table.name: table.rows if table.fixed else max(_FEWEST, int(table.rows * factor)) for table in tables}


def query_of(table: TableSpec, rows: Mapping[str, int], seed: int) -> str:
    """The query that makes the table."""
    columns = ", ".join(f"({column.sql})::{column.type} AS {column.name}" for column in table.columns)
    numbers = {**rows, "seed": _mixed(seed, table.name)}
    return f"SELECT {columns.format_map(numbers)} FROM range({rows[table.name]}) r(i)"


def _mixed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4])


def _write(
    connection: duckdb.DuckDBPyConnection, table: TableSpec, rows: Mapping[str, int], seed: int, folder: Path
) -> PinnedTable:
    path = folder / f"{table.name}.parquet"
    connection.execute(f"COPY ({query_of(table, rows, seed)}) TO '{path}' (FORMAT parquet)")
    return PinnedTable(
        name=table.name, kind="parquet", files=(str(path),), columns=table.shape, rows=rows[table.name], version=None
    )


def _export(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> PinnedTable:
    connection.execute(f"COPY {name} TO '{path}' (FORMAT parquet)")
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
    columns = tuple(TableColumn(name=column[0], type=column[1]) for column in described)
    return PinnedTable(name=name, kind="parquet", files=(str(path),), columns=columns, rows=rows)


def _frozen(
    spec: JobSpec, sources: tuple[PinnedTable, ...], before: PinnedTable | None, after: PinnedTable, took_s: float
) -> EtlJob:
    nights = (_PRODUCTION_AT - timedelta(days=back) for back in range(_RUNS))
    history = (
        ProductionRun(started_at=night.isoformat(), duration_s=max(took_s, 0.001), rows=after.rows) for night in nights
    )
    return EtlJob(
        job_id=f"builtin-{spec.task_key}",
        task_key=spec.task_key,
        question=spec.question,
        statements=spec.statements,
        output=spec.output,
        mode=spec.mode,
        output_columns=after.columns,
        sources=sources,
        before=before,
        after=after,
        touched=spec.touched,
        contract=spec.contract,
        history=tuple(history),
    )
