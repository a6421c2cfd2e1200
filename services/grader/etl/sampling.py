"""Which rows of large tables a small variant takes: those of some values of a column that the large tables share.

So joins and groups over that column stay whole, where rows drawn one by one would hardly ever meet.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from services.contracts.etl import EtlJob, PinnedTable
from services.grader.etl.pinned import quoted, relation

_VALUES_A_SHARE = 8
"""Values of a shared column for every one of them that is taken, at least: else single rows are drawn."""


@dataclass(frozen=True)
class Share:
    """One part in `of` of the rows, by the values of `column`, or row by row if it is None."""

    column: str | None
    of: int


@dataclass(frozen=True)
class Sampling:
    """The share that is taken of each table; all rows of those that are not named."""

    shares: dict[str, Share] = field(default_factory=dict)

    def condition(self, table: PinnedTable, seed: int) -> str | None:
        """The condition on the rows of `it`, or None if all of them are taken."""
        share = self.shares.get(table.name)
        if share is None:
            return None
        columns = [share.column] if share.column else [column.name for column in table.columns]
        return f"hash({seed}, {', '.join(f'it.{quoted(name)}' for name in columns)}) % {share.of} = 0"


def sampling_of(
    job: EtlJob, tables: Sequence[PinnedTable], rows: int, connection: duckdb.DuckDBPyConnection
) -> Sampling:
    """Shares that leave about so many rows of each table."""
    large = [table for table in tables if table.rows > rows]
    if not large:
        return Sampling()
    of = -(-max(table.rows for table in large) // rows)
    shared = _shared(job, large)
    shares = {}
    for table in large:
        column = next((name for name in shared if name in _names(table)), None)
        if column is not None and _values(connection, table, column) < of * _VALUES_A_SHARE:
            column = None
        shares[table.name] = Share(column and _names(table)[column], of if column else -(-table.rows // rows))
    return Sampling(shares)


def _shared(job: EtlJob, large: Sequence[PinnedTable]) -> list[str]:
    """Columns of more than one large table, the most shared first; then those by which rows refer to others."""
    counted = Counter(name for table in large for name in _names(table))
    referring = [name.lower() for clause in job.contract.references for name in clause.columns]
    keys = {name.lower() for clause in job.contract.keys for name in clause.columns if len(clause.columns) == 1}
    found = [name for name, count in counted.most_common() if count > 1]
    return sorted(found, key=lambda name: (-counted[name], name not in keys, name not in referring, name))


def _names(table: PinnedTable) -> dict[str, str]:
    return {column.name.lower(): column.name for column in table.columns}


def _values(connection: duckdb.DuckDBPyConnection, table: PinnedTable, column: str) -> int:
    name = quoted(_names(table)[column])
    row = connection.execute(f"SELECT approx_count_distinct({name}) FROM ({relation(table)})").fetchone()
    return int(row[0]) if row else 0
