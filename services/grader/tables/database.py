"""A table of a DuckDB file, read through a connection that can read nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from services.contracts.errors import BadInput
from services.grader.tables.refute import CONFIG, Glance, glance
from services.grader.tables.source import BATCH_ROWS, Ranges, Stamps, guarded

_NAME = "compared"
_CONFIG = {**CONFIG, "arrow_lossless_conversion": True}


class DuckDbSource:
    """One base table (protocol: services.grader.tables.source.Source). A view is refused: it need not stay the same."""

    def __init__(self, path: Path, table: str) -> None:
        self.name = f"{path}::{table}"
        self.ranges: Ranges = {}
        self._stamps = Stamps([path])
        self._connection = duckdb.connect(config=_CONFIG)
        try:
            self._connection.execute(f"ATTACH {_literal(str(path))} AS {_NAME} (READ_ONLY)")
        except duckdb.Error as error:
            raise BadInput(f"cannot open the DuckDB file {path}: {error}") from error
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        self._table, self.rows = self._find(table)

    def _find(self, table: str) -> tuple[str, int]:
        schema, mark, name = table.rpartition(".")
        found = self._connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND "
            f"database_name = '{_NAME}' AND (table_name = $whole AND schema_name = 'main' "
            "OR table_name = $name AND schema_name = $schema)",
            {"whole": table, "name": name, "schema": schema if mark else "main"},
        ).fetchall()
        if not found:
            raise BadInput(f"there is no table {table} in {self.name.rpartition('::')[0]} (views are not read)")
        quoted = ".".join(_quoted(part) for part in (_NAME, *found[0]))
        count: Any = self._connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()
        return quoted, int(count[0])

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return self._connection.execute(f"SELECT * FROM {self._table} LIMIT 0").to_arrow_reader(1).schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The columns' values in the order of the table."""
        wanted = ", ".join(map(_quoted, columns))
        cursor = self._connection.cursor()
        reader = cursor.execute(f"SELECT {wanted} FROM {self._table}").to_arrow_reader(BATCH_ROWS)
        return guarded(iter(reader), self.name, self._stamps)

    def glance(self, columns: Sequence[str]) -> Glance | None:
        """The sum of the engine's hashes."""
        return glance(self._connection.cursor(), self._table, columns)

    def check(self) -> None:
        """Raises Infrastructure if the file is not what it was."""
        self._stamps.check()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
