"""Changes to a table's rows that its contract allows: values moved between rows, NULLs, edges of the type, doubles.

Invariant: columns that a clause ties together move together, a key stays what it is, and a format keeps its values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from services.contracts.etl import Contract, PinnedTable
from services.grader.etl.pinned import quoted

_MOVED_OF, _EDGES_OF, _NULLS_OF, _DOUBLED_OF = 8, 12, 24, 16
"""One row of so many has its values moved, gets an edge of the type, gets NULL, comes twice."""
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_EDGES = {
    "VARCHAR": ("upper({0})", "lower({0})", "' ' || {0} || ' '", "''", "{0} || '_'", "replace({0}, 'a', '%')"),
    "DATE": ("CAST({0} + INTERVAL 1 DAY AS DATE)", "CAST({0} - INTERVAL 1 YEAR AS DATE)", "last_day({0})"),
    "TIMESTAMP": (
        "date_trunc('day', {0}) + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND",
        "date_trunc('day', {0})",
        "{0} + INTERVAL 1 YEAR",
    ),
    "BOOLEAN": ("NOT {0}",),
}


@dataclass(frozen=True)
class Columns:
    """The columns of one table by what may be done to them."""

    names: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    """Those that move between rows, together."""
    nullable: frozenset[str]
    free: tuple[tuple[str, str], ...]
    """Those whose values no clause is about, each with its type."""
    doubled: bool
    """Whether a row may come twice."""


def columns_of(table: PinnedTable, contract: Contract) -> Columns:
    """What the contract leaves open."""
    name = table.name
    keys = [clause.columns for clause in contract.keys if clause.table == name]
    tied = [(*c.determines, *c.dependent) for c in contract.dependencies if c.table == name]
    referred = [clause.target_columns for clause in contract.references if clause.target == name]
    referring = [clause.columns for clause in contract.references if clause.table == name]
    formats = {clause.column.lower() for clause in contract.formats if clause.table == name}
    fixed = {column.lower() for clause in (*keys, *referred) for column in clause}
    bound = {column.lower() for clause in tied for column in clause}
    not_null = {clause.column.lower() for clause in contract.not_null if clause.table == name}
    names = tuple(column.name for column in table.columns)
    spelt = {column.lower(): column for column in names}
    groups = [{c.lower() for c in clause} for clause in (*tied, *referring)] + [{column} for column in spelt]
    refers = {column.lower() for clause in referring for column in clause}
    return Columns(
        names=names,
        groups=tuple(tuple(sorted(spelt[c] for c in group)) for group in _joined(groups) if not group & fixed),
        nullable=frozenset(spelt[c] for c in spelt if c not in fixed | bound | not_null),
        free=tuple((c.name, c.type) for c in table.columns if c.name.lower() not in fixed | bound | formats | refers),
        doubled=not keys and not referred,
    )


def mutated(table: str, columns: Columns, seed: int, edges: bool) -> str:
    """A SELECT of the table's rows, changed by the seed. With `edges` values of their own come in, too."""
    names = ", ".join(map(quoted, columns.names))
    moved = {name: number for number, group in enumerate(columns.groups) for name in group}
    kinds = dict(columns.free)
    values = []
    for place, name in enumerate(columns.names):
        value = f"it.{quoted(name)}"
        if name in moved:
            value = _if(seed, f"'move{moved[name]}'", _MOVED_OF, f"by{moved[name]}.{quoted(name)}", value)
        if edges and name in kinds:
            for number, edge in enumerate(_edges(kinds[name])):
                value = _if(seed, f"'edge{place}.{number}'", _EDGES_OF, edge.format(f"it.{quoted(name)}"), value)
        if name in columns.nullable:
            value = _if(seed, f"'null{place}'", _NULLS_OF, "NULL", value)
        values.append(f"{value} AS {quoted(name)}")
    rows = f"(SELECT {names}, row_number() OVER () AS __row FROM {table})"
    sides = "".join(
        f" JOIN {_turned(table, names, seed, g)} AS by{g} USING (__row)" for g in range(len(columns.groups))
    )
    query = f"SELECT {', '.join(values)}, it.__row FROM {rows} AS it{sides}"
    doubles = f" UNION ALL SELECT {names} FROM changed WHERE hash({seed}, 'double', __row) % {_DOUBLED_OF} = 0"
    return f"WITH changed AS MATERIALIZED ({query}) SELECT {names} FROM changed{doubles if columns.doubled else ''}"


def _turned(table: str, names: str, seed: int, group: int) -> str:
    """The rows in another order, numbered anew."""
    numbered = f"SELECT {names}, row_number() OVER () AS __at FROM {table}"
    order = f"hash({seed}, 'turn', {group}, __at)"
    return f"(SELECT {names}, row_number() OVER (ORDER BY {order}) AS __row FROM ({numbered}))"


def _if(seed: int, what: str, of: int, then: str, otherwise: str) -> str:
    return f"CASE WHEN hash({seed}, {what}, it.__row) % {of} = 0 THEN {then} ELSE {otherwise} END"


def _edges(kind: str) -> Iterator[str]:
    base = kind.upper()
    if base in _WHOLE or base.startswith("DECIMAL(") or base in ("FLOAT", "DOUBLE"):
        yield from ("0", f"CAST(-{{0}} AS {base})")
    yield from _EDGES.get(base, ())


def _joined(groups: list[set[str]]) -> list[set[str]]:
    """Groups that share a column become one."""
    found: list[set[str]] = []
    for group in groups:
        apart = [other for other in found if not other & group]
        found = [*apart, group.union(*(other for other in found if other & group))]
    return found
