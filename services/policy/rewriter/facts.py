"""What a rule may rely on: the sources' columns and types, and what the contract declares of them; nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.contracts.etl import Contract
from services.policy.rewriter.patterns import characters_of

Schema = Mapping[str, Mapping[str, str]]
"""Columns and DuckDB's text of their types, by table; all names in lower case."""

INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "INT"})
EXACT = INTEGERS | {"HUGEINT", "DATE", "TIMESTAMP", "VARCHAR", "BOOLEAN", "UBIGINT"}
"""Types whose values are equal only if they are the same, and which have no NaN."""


@dataclass(frozen=True)
class Facts:
    """The schema and the contract, asked by table and column."""

    schema: Schema
    contract: Contract = field(default_factory=Contract)

    def type_of(self, table: str, column: str) -> str:
        """DuckDB's text of the type, without parameters; empty if it is not known."""
        return self.schema.get(table, {}).get(column, "").upper().partition("(")[0]

    def unique(self, table: str, columns: Iterable[str]) -> bool:
        """Whether no two rows agree on all these columns, by a declared key."""
        given = {column.lower() for column in columns}
        return any(
            clause.table.lower() == table and {column.lower() for column in clause.columns} <= given
            for clause in self.contract.keys
        )

    def not_null(self, table: str, column: str) -> bool:
        """Whether the column of the source holds no null."""
        named = any(
            (clause.table.lower(), clause.column.lower()) == (table, column) for clause in self.contract.not_null
        )
        return named or any(
            clause.table.lower() == table and column in (name.lower() for name in clause.columns)
            for clause in self.contract.keys
        )

    def determined(self, table: str, columns: Iterable[str]) -> frozenset[str]:
        """The columns that rows agree on if they agree on these: the closure under keys and dependencies."""
        known = {column.lower() for column in columns}
        if self.unique(table, known):
            return frozenset(self.schema.get(table, {}))
        rules = [clause for clause in self.contract.dependencies if clause.table.lower() == table]
        while True:
            more = {
                name.lower()
                for clause in rules
                if {column.lower() for column in clause.determines} <= known
                for name in clause.dependent
            }
            if more <= known:
                return frozenset(known)
            known |= more
            if self.unique(table, known):
                return frozenset(self.schema.get(table, {}))

    def patterns(self, table: str, column: str) -> tuple[str, ...]:
        """The formats that every value of the column has."""
        return tuple(
            clause.pattern
            for clause in self.contract.formats
            if (clause.table.lower(), clause.column.lower()) == (table, column)
        )

    def characters(self, table: str, column: str) -> frozenset[str] | None:
        """The characters that values may have by a declared format; None if any."""
        found = [characters_of(pattern) for pattern in self.patterns(table, column)]
        return next((characters for characters in found if characters is not None), None)
