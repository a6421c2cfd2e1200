"""Production's output where it was not kept: the original is run here once, and what it writes stands for it.

Invariant: the statements read the pinned files and nothing else, and write nothing but the output; threads are one, so
that a second time gives the same rows in the same order wherever the engine can.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from cluster.etl.pinning import pin_files
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

    The file is named after the statements and what the sources hold: if it is there it is taken, so that the same task
    is pinned to the same output each time. Raises BadInput where they fail, Infrastructure where the machine does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file = folder.absolute() / f"{_digest(statements, sources, output)}.parquet"
    if not file.exists():
        part = file.with_suffix(".part")
        _write(statements, sources, output, part)
        part.chmod(0o600)
        part.rename(file)
    return file


def _digest(statements: Sequence[str], sources: Sequence[PinnedTable], output: str) -> str:
    held = [(table.model_dump(mode="json"), [pin.sha256 for pin in pin_files([table])]) for table in sources]
    return hashlib.sha256(json.dumps([duckdb.__version__, list(statements), held, output]).encode()).hexdigest()[:16]


def _write(statements: Sequence[str], sources: Sequence[PinnedTable], output: str, file: Path) -> None:
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
