"""Whether a task runs on DuckDB at all, tried on empty tables, and whether it gives production's columns."""

from collections.abc import Sequence

import duckdb
from sqlglot import exp

from services.contracts.errors import BadInput
from services.contracts.etl import Mode, PinnedTable, TableColumn
from services.grader.etl.increment import parse, write_of
from services.grader.etl.pinned import SETTINGS, column_list, declare, dotted, quoted

NUMBERS = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
    "FLOAT", "DOUBLE", "DECIMAL",
)  # fmt: skip
TIMES = ("DATE", "TIMESTAMP")


def fit_output(
    statements: Sequence[str], sources: Sequence[PinnedTable], after: PinnedTable, mode: Mode
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The statements, made to give production's types where only those differ, and the changes. Raises BadInput."""
    made = columns_made(statements, sources, after, mode)
    if mode != "create" or made == after.columns:
        return tuple(statements), ()
    changes = _casts(made, after)
    place = max(place for place, sql in enumerate(statements) if _creates(sql, after.name))
    fitted = _fitted(statements[place], made, after)
    return (*statements[:place], fitted, *statements[place + 1 :]), changes


def columns_made(
    statements: Sequence[str], sources: Sequence[PinnedTable], after: PinnedTable, mode: Mode
) -> tuple[TableColumn, ...]:
    """The output's columns after a run on empty tables. Raises BadInput with the statement that does not run."""
    with duckdb.connect(config={**SETTINGS, "memory_limit": "1GB", "temp_directory": ""}) as connection:
        tables = list(sources) if mode == "create" else [*sources, after]
        schemas = {table.name.rpartition(".")[0] for table in (*sources, after)} - {""}
        for schema in sorted(schemas):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dotted(schema)}")
        for table in tables:
            declare(connection, table.name, f"CREATE TABLE {dotted(table.name)} ({column_list(table.columns)})")
        connection.execute("SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true")
        for place, sql in enumerate(statements, 1):
            _run(connection, sql, f"statement {place}")
        described = _run(connection, f"DESCRIBE {dotted(after.name)}", f"the output {after.name}")
    return tuple(TableColumn(name=str(row[0]), type=str(row[1])) for row in described)


def _run(connection: duckdb.DuckDBPyConnection, sql: str, what: str) -> list[tuple[object, ...]]:
    try:
        return connection.execute(sql).fetchall()
    except duckdb.Error as error:
        raise BadInput(f"{what} does not run on DuckDB: {' '.join(str(error).split())[:300]}") from error


def _casts(made: Sequence[TableColumn], after: PinnedTable) -> tuple[str, ...]:
    """What a cast to production's types changes. Raises BadInput where the columns are others."""
    names, wanted = [c.name.lower() for c in made], [c.name.lower() for c in after.columns]
    if names != wanted:
        raise BadInput(
            f"the task gives the columns {', '.join(names)}; production's {after.name} has {', '.join(wanted)}"
        )
    pairs = [(ours, theirs) for ours, theirs in zip(made, after.columns, strict=True) if ours != theirs]
    for ours, theirs in pairs:
        if _family(ours.type) != _family(theirs.type):
            raise BadInput(f"the task gives {ours.name} as {ours.type}; production's {after.name} has {theirs.type}")
    return tuple(f"{ours.name} {ours.type} is written as production's {t.name} {t.type}" for ours, t in pairs)


def _family(kind: str) -> str:
    if kind.startswith(NUMBERS) and not kind.endswith("]"):
        return "number"
    return "time" if kind.startswith(TIMES) and not kind.endswith("]") else kind


def _creates(sql: str, output: str) -> bool:
    written = [write_of(tree) for tree in parse(sql, "duckdb")]
    return any(write is not None and write.table == output and write.deed == "create" for write in written)


def _fitted(sql: str, made: Sequence[TableColumn], after: PinnedTable) -> str:
    tree = parse(sql, "duckdb")[0]
    if not isinstance(tree, exp.Create) or tree.expression is None:
        raise BadInput(f"{after.name} is declared with other types than production's: mend its CREATE TABLE")
    picks = ", ".join(
        f"CAST({quoted(ours.name)} AS {theirs.type}) AS {quoted(theirs.name)}"
        for ours, theirs in zip(made, after.columns, strict=True)
    )
    query = tree.expression.sql(dialect="duckdb")
    return f"CREATE OR REPLACE TABLE {dotted(after.name)} AS SELECT {picks} FROM ({query}) AS made"
