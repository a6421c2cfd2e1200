"""The contract of a job, checked on its pinned data: what is declared but not so is said with examples.

Invariant: a clause holds only if a query over all rows found no row against it; a clause that cannot be checked is bad
input, never taken as kept.
"""

import difflib
import tempfile
from collections.abc import Iterator, Sequence

import duckdb

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import (
    Contract,
    DependencyClause,
    FormatClause,
    KeyClause,
    NotNullClause,
    PinnedTable,
    ReferenceClause,
)
from services.contracts.record import Record
from services.grader.etl.pinned import SETTINGS, create_view, dotted, quoted, text

EXAMPLES = 3
MEMORY_MB = 2048
SPILL_MB = 65_536
SHOWN_CHARACTERS = 200

Clause = KeyClause | DependencyClause | FormatClause | NotNullClause | ReferenceClause
Tables = dict[str, PinnedTable]


class BrokenClause(Record):
    """A clause that the data does not keep: how many groups or rows break it, and up to three of them."""

    clause: str
    count: int
    examples: tuple[str, ...]


def clauses_of(contract: Contract) -> tuple[Clause, ...]:
    """All clauses of a contract."""
    return (
        *contract.keys,
        *contract.dependencies,
        *contract.formats,
        *contract.not_null,
        *contract.references,
    )


def check_contract(
    contract: Contract, tables: Sequence[PinnedTable], memory_mb: int = MEMORY_MB
) -> tuple[BrokenClause, ...]:
    """The clauses that the tables break. `memory_mb` bounds the engine's buffers; it spills beyond them.

    Raises BadInput for a clause about what is not there, Infrastructure where memory or disk run out.
    """
    known = {table.name: table for table in tables}
    checks = [(render(clause), query_of(clause, known)) for clause in clauses_of(contract)]
    if not checks:
        return ()
    with tempfile.TemporaryDirectory(prefix="assay-contract-") as spill:
        limits = {"memory_limit": f"{memory_mb}MB", "temp_directory": spill, "max_temp_directory_size": f"{SPILL_MB}MB"}
        with duckdb.connect(config={**SETTINGS, **limits}) as connection:
            connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
            for name in sorted(named_in(contract)):
                create_view(connection, known[name])
            return tuple(_broken(connection, checks))


def require_contract(contract: Contract, tables: Sequence[PinnedTable], memory_mb: int = MEMORY_MB) -> None:
    """Raises BadInput that names every broken clause."""
    broken = check_contract(contract, tables, memory_mb)
    if broken:
        said = "; ".join(f"{b.clause} is broken {b.count} times, such as {', '.join(b.examples)}" for b in broken)
        raise BadInput(f"the data does not keep the contract: {said}")


def named_in(contract: Contract) -> set[str]:
    """The tables that the clauses are about."""
    targets = {clause.target for clause in contract.references}
    return {clause.table for clause in clauses_of(contract)} | targets


def render(clause: Clause) -> str:
    """The clause in one line."""
    match clause:
        case KeyClause():
            return f"key of {clause.table} ({', '.join(clause.columns)})"
        case DependencyClause():
            return f"dependency in {clause.table} ({', '.join(clause.determines)}) -> ({', '.join(clause.dependent)})"
        case FormatClause():
            return f"format of {clause.table}.{clause.column} {clause.pattern}"
        case NotNullClause():
            return f"not null {clause.table}.{clause.column}"
        case ReferenceClause():
            target = f"{clause.target} ({', '.join(clause.target_columns)})"
            return f"reference of {clause.table} ({', '.join(clause.columns)}) to {target}"


def query_of(clause: Clause, tables: Tables) -> str:
    """A query whose rows break the clause. Raises BadInput if a name is unknown."""
    match clause:
        case KeyClause():
            return _key(clause, tables)
        case DependencyClause():
            return _dependency(clause, tables)
        case FormatClause():
            return _format(clause, tables)
        case NotNullClause():
            column = _columns(clause, clause.table, (clause.column,), tables)[0]
            return f"SELECT * FROM {dotted(clause.table)} WHERE {column} IS NULL"
        case ReferenceClause():
            return _reference(clause, tables)


def _key(clause: KeyClause, tables: Tables) -> str:
    columns = _columns(clause, clause.table, clause.columns, tables)
    nulls = " OR ".join(f"{column} IS NULL" for column in columns)
    listed = ", ".join(columns)
    return f"SELECT {listed} FROM {dotted(clause.table)} GROUP BY {listed} HAVING count(*) > 1 OR {nulls}"


def _dependency(clause: DependencyClause, tables: Tables) -> str:
    """Two values in a group show as a minimum other than the maximum, or as a null beside a value."""
    keys = ", ".join(_columns(clause, clause.table, clause.determines, tables))
    dependent = _columns(clause, clause.table, clause.dependent, tables)
    tests = " OR ".join(f"min({c}) IS DISTINCT FROM max({c}) OR count({c}) NOT IN (0, count(*))" for c in dependent)
    return f"SELECT {keys} FROM {dotted(clause.table)} GROUP BY {keys} HAVING {tests}"


def _format(clause: FormatClause, tables: Tables) -> str:
    column = _columns(clause, clause.table, (clause.column,), tables)[0]
    kind = next(c.type for c in tables[clause.table].columns if c.name.lower() == clause.column.lower())
    if kind != "VARCHAR":
        raise BadInput(f"{render(clause)}: the column is {kind}, and a format is of text")
    kept = f"regexp_full_match({column}, {text(clause.pattern)})"
    return f"SELECT {column} FROM {dotted(clause.table)} WHERE {column} IS NOT NULL AND NOT {kept}"


def _reference(clause: ReferenceClause, tables: Tables) -> str:
    ours = _columns(clause, clause.table, clause.columns, tables)
    theirs = _columns(clause, clause.target, clause.target_columns, tables)
    if len(ours) != len(theirs):
        raise BadInput(f"{render(clause)}: {len(ours)} columns cannot refer to {len(theirs)}")
    whole = " AND ".join(f"a.{column} IS NOT NULL" for column in ours)
    pairs = " AND ".join(f"a.{our} = b.{their}" for our, their in zip(ours, theirs, strict=True))
    listed = ", ".join(f"a.{column}" for column in ours)
    return f"SELECT {listed} FROM {dotted(clause.table)} a ANTI JOIN {dotted(clause.target)} b ON {pairs} WHERE {whole}"


def _columns(clause: Clause, table: str, names: Sequence[str], tables: Tables) -> list[str]:
    """The columns as identifiers. Raises BadInput with the nearest that there is."""
    if table not in tables:
        raise BadInput(f"{render(clause)}: there is no table {table}{_near(table, list(tables))}")
    if not names:
        raise BadInput(f"{render(clause)}: it names no column")
    known = {column.name.lower(): column.name for column in tables[table].columns}
    for name in names:
        if name.lower() not in known:
            raise BadInput(f"{render(clause)}: {table} has no column {name}{_near(name.lower(), list(known))}")
    return [quoted(known[name.lower()]) for name in names]


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"


def _broken(connection: duckdb.DuckDBPyConnection, checks: Sequence[tuple[str, str]]) -> Iterator[BrokenClause]:
    for clause, query in checks:
        counted = _ask(connection, clause, f"SELECT count(*) FROM ({query})")
        count = int(str(counted[0][0]))
        if count:
            rows = _ask(connection, clause, f"SELECT * FROM ({query}) LIMIT {EXAMPLES}")
            yield BrokenClause(clause=clause, count=count, examples=tuple(map(_shown, rows)))


def _ask(connection: duckdb.DuckDBPyConnection, clause: str, sql: str) -> list[tuple[object, ...]]:
    try:
        return connection.execute(sql).fetchall()
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise Infrastructure(f"{clause} cannot be checked: {str(error).splitlines()[0]}") from error
    except duckdb.Error as error:
        raise BadInput(f"{clause}: {str(error).splitlines()[0]}") from error


def _shown(row: Sequence[object]) -> str:
    return f"({', '.join('NULL' if value is None else str(value) for value in row)})"[:SHOWN_CHARACTERS]
