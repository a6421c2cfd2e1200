"""What DESCRIBE and SAMPLE show: read once when a task set is made, so that neither costs an engine call.

A reservoir of rows is kept per table; an episode's seed picks five of them (sqlenv-v1-spec §2.4).
"""

import random
import re
from functools import cached_property

from pydantic import SkipValidation

from services.contracts.record import Record
from services.contracts.statements import Rows
from services.env_actor.render import csv_field, csv_lines

SAMPLE_ROWS = 5
RESERVOIR_ROWS = 50
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class TableCatalog(Record):
    """One table: columns with their types, its row count, and the reservoir that SAMPLE draws from."""

    name: str
    columns: tuple[tuple[str, str], ...]
    row_count: int
    reservoir: SkipValidation[Rows]

    def describe(self) -> str:
        """Columns, types and row count."""
        return self._described

    def sample(self, seed: int) -> str:
        """Five rows of the reservoir, chosen by the seed."""
        header, lines = self._lines
        picked = random.Random(f"{seed}/{self.name}").sample(lines, min(SAMPLE_ROWS, len(lines)))
        return "\n".join([header, *picked])

    @cached_property
    def _described(self) -> str:
        return f"table {quoted(self.name)} ({self.row_count} rows)\n{csv_lines(('column', 'type'), self.columns)}"

    @cached_property
    def _lines(self) -> tuple[str, list[str]]:
        """The header and the reservoir's rows as they are shown."""
        header = csv_lines([name for name, _ in self.columns], ())
        return header, [",".join(map(csv_field, row)) for row in self.reservoir]


class DatabaseCatalog(Record):
    """The tables of one database, in the order in which the agent is shown them."""

    tables: tuple[TableCatalog, ...]

    def find(self, name: str) -> TableCatalog | None:
        """The table of that name, whatever its case or quotes."""
        wanted = name.strip().rstrip(";").strip().strip('"`[]').casefold()
        return next((table for table in self.tables if table.name.casefold() == wanted), None)

    def schema_info(self) -> str:
        """Table names only: the rest is for the agent to find out (§2.5)."""
        return "tables: " + ", ".join(quoted(table.name) for table in self.tables)


def quoted(name: str) -> str:
    """The name as SQL would have it: in double quotes unless it is a plain identifier."""
    return name if _PLAIN.match(name) else '"' + name.replace('"', '""') + '"'
