"""Production's output where it was not kept: the original is run here once, and what it writes stands for it.

Invariant: the statements read the pinned files and nothing else, and write nothing but the output; threads are one, so
that a second time gives the same rows in the same order wherever the engine can.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import PinnedTable
from services.grader.etl.pinned import SETTINGS, create_view, declare, dotted, quoted, text

MEMORY_MB = 4096
SPILL_MB = 65_536
SAID = "production's output was not given: what the original wrote here stands for it"
_WIDE = ("HUGEINT", "UHUGEINT")
"""Parquet has no such integers and would take floats for them."""


def produce(statements: Sequence[str], sources: Sequence[PinnedTable], output: str, folder: Path) -> Path:
    """Run statements that make their output, and write it as a Parquet file into the folder, for its owner's eyes only.

    Raises BadInput where they fail, Infrastructure where memory or disk run out.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file = folder.absolute() / "output.parquet"
    with tempfile.TemporaryDirectory(prefix="assay-original-") as spill:
        limits = {"memory_limit": f"{MEMORY_MB}MB", "temp_directory": spill, "max_temp_directory_size": f"{SPILL_MB}MB"}
        with duckdb.connect(f"{spill}/run.duckdb", config={**SETTINGS, **limits, "threads": 1}) as connection:
            _prepare(connection, sources, output, file.parent)
            for place, sql in enumerate(statements, 1):
                _run(connection, sql, f"statement {place}")
            columns = connection.execute(f"DESCRIBE {dotted(output)}").fetchall()
            wide = [quoted(str(row[0])) for row in columns if row[1] in _WIDE]
            casts = ", ".join(f"CAST({name} AS DECIMAL(38, 0)) AS {name}" for name in wide)
            picks = f"* REPLACE ({casts})" if wide else "*"
            _run(
                connection, f"COPY (SELECT {picks} FROM {dotted(output)}) TO {text(str(file))} (FORMAT parquet)", output
            )
    file.chmod(0o600)
    return file


def _prepare(connection: duckdb.DuckDBPyConnection, sources: Sequence[PinnedTable], output: str, folder: Path) -> None:
    """The tables as the run found them, and the doors locked but to their files and the output's folder."""
    connection.execute("SET TimeZone = 'UTC'")
    for table in sources:
        create_view(connection, table)
    declare(connection, output, "SELECT 1")
    files = [path for table in sources for path in table.files]
    connection.execute(f"SET allowed_paths = [{', '.join(map(text, files))}]")
    connection.execute(f"SET allowed_directories = [{text(str(folder))}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def _run(connection: duckdb.DuckDBPyConnection, sql: str, what: str) -> None:
    try:
        connection.execute(sql)
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise Infrastructure(f"{what} of the original cannot be run here: {str(error).splitlines()[0]}") from error
    except duckdb.Error as error:
        raise BadInput(
            f"{what} of the original does not run on DuckDB: {' '.join(str(error).split())[:300]}"
        ) from error
