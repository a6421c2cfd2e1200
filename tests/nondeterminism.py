"""Jobs over three small tables, for the tests of the nondeterminism classes."""

from collections.abc import Sequence
from functools import cache
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


@cache
def engine() -> duckdb.DuckDBPyConnection:
    """An engine with the tables, empty."""
    connection = duckdb.connect(config={"threads": 1})
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    return connection


@cache
def pinned(name: str, files: tuple[Path, ...] = ()) -> PinnedTable:
    return PinnedTable(name=name, kind="parquet", files=tuple(map(str, files)), columns=_columns(name))


def _columns(table: str) -> tuple[TableColumn, ...]:
    described = engine().execute(f"DESCRIBE {table}").fetchall()
    return tuple(TableColumn(name=row[0], type=row[1]) for row in described)


def output_of(statements: Sequence[str]) -> tuple[TableColumn, ...]:
    """The columns that statements give, by running them over empty tables."""
    engine().execute("BEGIN")
    try:
        for statement in statements:
            engine().execute(statement)
        return _columns("out")
    finally:
        engine().execute("ROLLBACK")


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


FILLS = {
    "orders": """SELECT i AS id, i % 97 AS customer_id, 's' || (i % 97 % 5) AS segment,
        TIMESTAMP '2024-01-01' + to_days((hash(i) % 40)::INTEGER) AS ts,
        ['paid', 'open', 'sent'][1 + (hash(i, 1) % 3)::INTEGER] AS status,
        (hash(i, 2) % 1000000007)::DOUBLE / 977 AS amount, (hash(i, 3) % 10000)::DECIMAL(10,2) / 100 AS price,
        (hash(i, 4) % 7)::INTEGER AS qty, [chr(65 + (hash(i, 5) % 26)::INTEGER), 'x'] AS tags
        FROM range({rows}) r(i)""",
    "customers": """SELECT i AS id, 'c' || i % 60 AS name, 'k' || i % 7 AS country,
        (hash(i) % 1000) / 7.0::DOUBLE AS score FROM range(97) r(i)""",
    "events": """SELECT hash(i, 6) % 500 AS event_id, hash(i, 7) % 97 AS user_id,
        TIMESTAMP '2024-01-01' + to_days((hash(i, 8) % 30)::INTEGER) AS seen,
        ['buy', 'view', 'c3'][1 + (hash(i, 9) % 3)::INTEGER] AS kind,
        (hash(i, 10) % 1000003) / 7.0::DOUBLE AS value FROM range({rows}) r(i)""",
}
"""Rows with many ties, that keep the contract."""


def written(folder: Path, rows: int = 20_000) -> tuple[PinnedTable, ...]:
    """The tables as Parquet files."""
    tables = []
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, columns in TABLES.items():
            path = folder / f"{name}.parquet"
            connection.execute(f"CREATE TABLE {name} ({columns})")
            connection.execute(f"INSERT INTO {name} BY NAME {FILLS[name].format(rows=rows)}")
            connection.execute(f"COPY {name} TO '{path}' (ROW_GROUP_SIZE 2048)")
            count = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            found = pinned(name, (path,))
            tables.append(found.model_copy(update={"rows": count[0] if count else 0}))
    return tuple(tables)
