"""Other data on which a rewrite must agree with its original: the sources with rows dropped, moved and changed.

Invariant: a variant keeps the contract of the job, which is checked on it, so that a rewrite that the contract licenses
holds there too; what the contract does not say may be otherwise. It is a function of the job, its kind and its seed.
"""

from pathlib import Path
from typing import Literal

import duckdb

from services.contracts.errors import Infrastructure
from services.contracts.etl import Contract, EtlJob, PinnedTable
from services.grader.etl.contract import check_contract
from services.grader.etl.ground import Ground
from services.grader.etl.mutation import columns_of, mutated
from services.grader.etl.pinned import SETTINGS, quoted, relation
from services.grader.etl.sampling import Sampling, sampling_of

Checked = Literal["dropped", "permuted", "shuffled", "edges"]
VariantKind = Checked | Literal["near"]
CHECKED: tuple[Checked, ...] = ("dropped", "permuted", "shuffled", "edges")
"""Where outputs are compared, the milder ones first. `near` is what is timed: nearly all of the pinned rows."""
SAMPLE_ROWS = 50_000
"""Of a table in a variant that is compared, about."""
NEAR_OF = 128
"""One row of so many is missing from the near variant."""
_KEPT_OF_TEN = 6
_MEMORY_MB = 3072


def make_variant(job: EtlJob, ground: Ground, kind: VariantKind, seed: int, folder: Path) -> Ground | None:
    """The variant's tables, as Parquet files in a new folder that everybody may read; None if it broke the contract.

    Raises Infrastructure where memory or disk run out.
    """
    folder.mkdir(mode=0o755, parents=True)
    limits = {"memory_limit": f"{_MEMORY_MB}MB", "temp_directory": str(folder / "spill")}
    with duckdb.connect(config={**SETTINGS, **limits}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        maker = _Maker(connection, job, ground, kind, seed)
        try:
            tables = maker.write(folder)
        except duckdb.Error as error:
            raise Infrastructure(f"a variant of the sources cannot be made: {error}") from error
    sources = tables[: len(ground.sources)]
    before = tables[-1] if ground.before else None
    if kind != "near" and check_contract(_about_sources(job), sources):
        return None
    return Ground(sources=sources, before=before, bounds=ground.bounds if kind == "near" else "")


class _Maker:
    """Writes the tables of one variant."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, job: EtlJob, ground: Ground, kind: VariantKind, seed: int
    ) -> None:
        self._connection = connection
        self._contract = _about_sources(job)
        self._ground = ground
        self._kind = kind
        self._seed = seed
        near = kind == "near"
        self._sampling = Sampling() if near else sampling_of(job, ground.tables, SAMPLE_ROWS, connection)

    def write(self, folder: Path) -> tuple[PinnedTable, ...]:
        """The tables as they are written."""
        tables = self._ground.tables
        if self._kind == "near":
            return tuple(self._written(folder, n, table, self._rows(n, table)) for n, table in enumerate(tables))
        for number, table in enumerate(tables):
            self._connection.execute(f"CREATE TABLE drawn{number} AS {self._rows(number, table)}")
            self._connection.execute(f"CREATE TABLE made{number} AS {self._changed(number, table)}")
        for _ in self._contract.references:
            self._mend_references()
        return tuple(self._written(folder, n, table, f"FROM made{n}") for n, table in enumerate(tables))

    def _rows(self, number: int, table: PinnedTable) -> str:
        """The rows that are kept, in another order if there are few."""
        drawn = f"hash({self._seed + number}, {', '.join(f'it.{quoted(column.name)}' for column in table.columns)})"
        conditions = [self._sampling.condition(table, self._seed)]
        if self._kind == "near" and table.name not in {clause.target for clause in self._contract.references}:
            conditions.append(f"{drawn} % {NEAR_OF} <> 0")
        if self._kind == "dropped":
            conditions.append(f"{drawn} % 10 < {_KEPT_OF_TEN}")
        where = " AND ".join(condition for condition in conditions if condition) or "true"
        order = "" if self._kind == "near" else f" ORDER BY {drawn}"
        return f"SELECT it.* FROM ({relation(table)}) AS it WHERE {where}{order}"

    def _changed(self, number: int, table: PinnedTable) -> str:
        if table is self._ground.before or self._kind in ("permuted", "dropped"):
            return f"FROM drawn{number}"
        columns = columns_of(table, self._contract)
        return mutated(f"drawn{number}", columns, self._seed + number, self._kind == "edges")

    def _mend_references(self) -> None:
        """Take out the rows whose partner was taken out."""
        places = {table.name: number for number, table in enumerate(self._ground.sources)}
        for clause in self._contract.references:
            child, parent = f"made{places[clause.table]}", f"made{places[clause.target]}"
            pairs = list(zip(map(quoted, clause.columns), map(quoted, clause.target_columns), strict=True))
            met = " AND ".join(f"p.{theirs} = {child}.{ours}" for ours, theirs in pairs)
            whole = " AND ".join(f"{ours} IS NOT NULL" for ours, _ in pairs)
            self._connection.execute(
                f"DELETE FROM {child} WHERE {whole} AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE {met})"
            )

    def _written(self, folder: Path, number: int, table: PinnedTable, query: str) -> PinnedTable:
        path = folder / f"{number}.parquet"
        self._connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        path.chmod(0o444)
        counted = self._connection.execute(f"SELECT count(*) FROM '{path}'").fetchone()
        pinned = {"kind": "parquet", "files": (str(path),), "hive_partitioning": False, "version": None}
        return table.model_copy(update={**pinned, "rows": int(counted[0]) if counted else 0})


def _about_sources(job: EtlJob) -> Contract:
    """The clauses about the sources alone."""
    names, said = {table.name for table in job.sources}, job.contract
    return Contract(
        keys=tuple(clause for clause in said.keys if clause.table in names),
        dependencies=tuple(clause for clause in said.dependencies if clause.table in names),
        formats=tuple(clause for clause in said.formats if clause.table in names),
        not_null=tuple(clause for clause in said.not_null if clause.table in names),
        references=tuple(clause for clause in said.references if {clause.table, clause.target} <= names),
    )
