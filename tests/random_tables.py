"""Small random tables that respect a contract, and the bag that a job's statements make of them."""

import re
from collections.abc import Sequence
from functools import cache

import duckdb
from hypothesis import strategies as st

from cluster.etl.builtin.domain import JobSpec, TableSpec
from services.contracts.etl import Contract

Row = tuple[str, ...]
Tables = dict[str, list[Row]]
MOST_ROWS = 9


@st.composite
def tables_of(draw: st.DrawFn, specs: Sequence[TableSpec], contract: Contract) -> Tables:
    """Rows of literals for each table, of which those are left out that break the contract."""
    found: Tables = {}
    for spec in specs:
        row = st.tuples(*(st.sampled_from(column.literals) for column in spec.columns))
        found[spec.name] = lawful(spec, draw(st.lists(row, max_size=MOST_ROWS)), contract)
    return found


def lawful(spec: TableSpec, rows: Sequence[Row], contract: Contract) -> list[Row]:
    """The rows that, one after another, keep the contract."""
    names = [column.name for column in spec.columns]
    kept: list[Row] = []
    for row in rows:
        if _may_join(
            dict(zip(names, row, strict=True)), [dict(zip(names, old, strict=True)) for old in kept], spec, contract
        ):
            kept.append(row)
    return kept


def _may_join(row: dict[str, str], kept: list[dict[str, str]], spec: TableSpec, contract: Contract) -> bool:
    def of(row: dict[str, str], columns: Sequence[str]) -> list[str]:
        return [row[column] for column in columns]

    for key in contract.keys:
        if key.table == spec.name and (
            "NULL" in of(row, key.columns) or any(of(row, key.columns) == of(old, key.columns) for old in kept)
        ):
            return False
    for clause in contract.not_null:
        if clause.table == spec.name and row[clause.column] == "NULL":
            return False
    for form in contract.formats:
        if (
            form.table == spec.name
            and row[form.column] != "NULL"
            and not re.fullmatch(form.pattern, row[form.column].strip("'"))
        ):
            return False
    for law in contract.dependencies:
        if law.table == spec.name:
            same = [old for old in kept if of(old, law.determines) == of(row, law.determines)]
            if any(of(old, law.dependent) != of(row, law.dependent) for old in same):
                return False
    return True


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


class Bags:
    """A database with the tables, which says whether two lists of statements make the same bag."""

    def __init__(self, spec: JobSpec, tables: Tables) -> None:
        self._spec = spec
        self._connection = _connection()
        for table in spec.tables:
            columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
            self._connection.execute(f"CREATE TABLE {table.name} ({columns})")
            if tables[table.name]:
                rows = ", ".join(f"({', '.join(row)})" for row in tables[table.name])
                self._connection.execute(f"INSERT INTO {table.name} VALUES {rows}")

    def __enter__(self) -> "Bags":
        return self

    def __exit__(self, *_: object) -> None:
        for (made,) in self._connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            self._connection.execute(f"DROP TABLE {made}")

    def fill(self, name: str, statements: Sequence[str]) -> None:
        """Run the statements and keep their output as the table NAME."""
        run = self._connection.execute
        if self._spec.before:
            run(f"CREATE TABLE {self._spec.output} AS {self._spec.before}")
        for statement in statements:
            run(statement)
        run(f"ALTER TABLE {self._spec.output} RENAME TO {name}")
        for (made,) in run("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall():
            run(f"DROP TABLE temp.{made}")

    def same(self, one: str, two: str) -> bool:
        """Whether two kept tables have the same columns and are equal as bags."""
        run = self._connection.execute
        if run(f"DESCRIBE {one}").fetchall() != run(f"DESCRIBE {two}").fetchall():
            return False
        both = (f"FROM {one} EXCEPT ALL FROM {two}", f"FROM {two} EXCEPT ALL FROM {one}")
        return not any(run(query).fetchall() for query in both)

    def rows(self, name: str) -> list[tuple[object, ...]]:
        """The rows of a kept table."""
        return self._connection.execute(f"FROM {name}").fetchall()

    def drop(self, name: str) -> None:
        """Forget a kept table."""
        self._connection.execute(f"DROP TABLE {name}")
