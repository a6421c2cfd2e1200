"""Jobs over three small tables, for the tests of the nondeterminism classes."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from services.contracts.etl import Contract, DependencyClause, EtlJob, KeyClause, PinnedTable, TableColumn

TABLES = {
    "orders": "id BIGINT, customer_id BIGINT, segment VARCHAR, ts TIMESTAMP, status VARCHAR, amount DOUBLE, "
    "price DECIMAL(10,2), qty INTEGER, tags VARCHAR[]",
    "customers": "id BIGINT, name VARCHAR, country VARCHAR, score DOUBLE",
    "events": "event_id BIGINT, user_id BIGINT, seen TIMESTAMP, kind VARCHAR, value DOUBLE",
}
CONTRACT = Contract(
    keys=(KeyClause(table="orders", columns=("id",)), KeyClause(table="customers", columns=("id",))),
    dependencies=(DependencyClause(table="orders", determines=("customer_id",), dependent=("segment",)),),
)


def statements_of(sql: str | Sequence[str]) -> tuple[str, ...]:
    """A query as the statement that makes the table out; several statements as they are."""
    return (f"CREATE TABLE out AS ({sql}\n)",) if isinstance(sql, str) else tuple(sql)


def pinned(name: str, files: Sequence[Path] = (), columns: str = "") -> PinnedTable:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({columns or TABLES[name]})")
        found = _columns(connection, "t")
    return PinnedTable(name=name, kind="parquet", files=tuple(map(str, files)), columns=found)


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[TableColumn, ...]:
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    return tuple(TableColumn(name=row[0], type=row[1]) for row in described)


def output_of(statements: Sequence[str]) -> tuple[TableColumn, ...]:
    """The columns that statements give, by running them over empty tables."""
    with duckdb.connect() as connection:
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
        for statement in statements:
            connection.execute(statement)
        return _columns(connection, "out")


def job_of(
    sql: str | Sequence[str],
    columns: tuple[TableColumn, ...] | None = None,
    sources: Sequence[PinnedTable] = (),
    contract: Contract = CONTRACT,
) -> EtlJob:
    """A job that makes the table out."""
    statements = statements_of(sql)
    tables = tuple(sources) or tuple(map(pinned, TABLES))
    return EtlJob(
        job_id="41",
        task_key="daily",
        question="make it faster",
        statements=statements,
        output="out",
        mode="create",
        output_columns=output_of(statements) if columns is None else columns,
        sources=tables,
        before=None,
        after=PinnedTable(name="out", kind="parquet", files=(), columns=()),
        contract=contract,
    )
