"""Outputs of runs as the grader compares them: as Parquet beside production's, or as they lie beside the original's.

Invariant: columns that are left out of the comparison still have the names, places and types of the reference.
"""

from pathlib import Path

import duckdb

from services.contracts.errors import Infrastructure
from services.grader.etl.pinned import SETTINGS, quoted, text
from services.grader.tables.compare import compare
from services.grader.tables.schema import SchemaDifference
from services.grader.tables.verdict import Comparison, TableJob, TableRules

DATABASE = "run.duckdb"


def output_of(kept: Path, stored: str) -> str:
    """Where the output of a kept run lies, as services.grader.tables reads it."""
    return f"{kept / DATABASE}::{stored}"


def write_parquet(query: str, path: Path) -> None:
    """The grader's own copy of a query's rows. Raises Infrastructure."""
    with duckdb.connect(config=SETTINGS) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        _copy(connection, query, path)


def export(kept: Path, stored: str, path: Path) -> None:
    """The output of a kept run as Parquet, which is how production stored its own. Raises Infrastructure."""
    with duckdb.connect(config=SETTINGS) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.execute(f"ATTACH {text(str(kept / DATABASE))} AS kept (READ_ONLY)")
        _copy(connection, f"FROM kept.main.{quoted(stored)}", path)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    try:
        connection.execute(f"COPY ({query}) TO {text(str(path))} (FORMAT parquet)")
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise Infrastructure(f"an output cannot be written to {path}: {error}") from error


def compare_outputs(reference: str, other: str, rules: TableRules) -> Comparison:
    """The verdict on two outputs. Raises BadInput, Infrastructure."""
    found = compare(TableJob(left=reference, right=other, rules=rules))
    differences = _gate(reference, other) if rules.ignore else ()
    if differences:
        return found.model_copy(update={"verdict": "different", "schema_differences": differences})
    return found


def _gate(reference: str, other: str) -> tuple[SchemaDifference, ...]:
    """All columns by place, name and type, the ignored ones too."""
    ours, theirs = _described(reference), _described(other)
    if ours == theirs:
        return ()
    longest = max(len(ours), len(theirs))
    pairs = zip(ours + [""] * (longest - len(ours)), theirs + [""] * (longest - len(theirs)), strict=True)
    return tuple(
        SchemaDifference(column=(mine or other).split(" ")[0], left=mine or None, right=other or None)
        for mine, other in pairs
        if mine != other
    )


def _described(where: str) -> list[str]:
    database, mark, table = where.rpartition("::")
    with duckdb.connect(config=SETTINGS) as connection:
        if mark:
            connection.execute(f"ATTACH {text(database)} AS kept (READ_ONLY)")
        relation = f"kept.main.{quoted(table)}" if mark else f"read_parquet({text(where)})"
        return [f"{name} {kind}" for name, kind, *_ in connection.execute(f"DESCRIBE FROM {relation}").fetchall()]
