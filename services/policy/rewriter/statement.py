"""Statements as syntax trees whose columns all name their tables; what cannot be read so is left as it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, SqlglotError
from sqlglot.optimizer.qualify import qualify

from services.policy.rewriter.facts import Schema

DIALECT = "duckdb"


@dataclass(frozen=True)
class Statement:
    """One statement: its text, and its query with every column qualified; None if there is nothing to rewrite."""

    text: str
    tree: exp.Expr | None = None

    @property
    def query(self) -> exp.Query | None:
        """The query within, if it is understood."""
        if self.tree is None:
            return None
        query = self.tree if isinstance(self.tree, exp.Query) else self.tree.args.get("expression")
        return query if isinstance(query, exp.Query) else None

    def with_query(self, query: exp.Query) -> "Statement":
        """The same statement around another query."""
        if self.tree is None or isinstance(self.tree, exp.Query):
            return Statement(sql(query), query)
        tree = self.tree.copy()
        tree.set("expression", query)
        return Statement(sql(tree), tree)


def sql(tree: exp.Expr) -> str:
    """The tree's text in DuckDB's SQL."""
    return tree.sql(DIALECT)


def read_statements(statements: Sequence[str], schema: Schema) -> tuple[Statement, ...]:
    """Each statement qualified over the sources and over the tables that the ones before it made."""
    known = {name: dict(columns) for name, columns in schema.items()}
    found = []
    for text in statements:
        statement = _read(text, known)
        found.append(statement)
        if isinstance(statement.tree, exp.Create) and statement.query is not None:
            table = statement.tree.find(exp.Table)
            if table is not None:
                known[table.name.lower()] = {name.lower(): "" for name in statement.query.named_selects}
    return tuple(found)


def _read(text: str, schema: dict[str, dict[str, str]]) -> Statement:
    try:
        tree = sqlglot.parse_one(text, dialect=DIALECT)
    except SqlglotError:
        return Statement(text)
    statement = Statement(text, tree)
    query = statement.query
    if query is None or (tree.args.get("with_") and query is not tree):
        return Statement(text)
    names = [column.alias_or_name for column in query.selects]
    try:
        qualified = qualify(query.copy(), dialect=DIALECT, schema=_nested(schema), quote_identifiers=False)
    except (OptimizeError, SqlglotError):
        return Statement(text)
    _name_as_before(qualified, names)
    return Statement(text, tree).with_query(qualified)


def _name_as_before(query: exp.Expr, names: Sequence[str]) -> None:
    """Give the output columns the case that they were written in, which the qualifier lowers."""
    while isinstance(query, exp.SetOperation):
        query = query.this
    selects = query.selects if isinstance(query, exp.Select) else []
    if len(selects) != len(names):
        return
    for column, name in zip(selects, names, strict=True):
        if isinstance(column, exp.Alias) and column.alias.lower() == name.lower() and column.alias != name:
            column.set("alias", exp.to_identifier(name))


def _nested(schema: dict[str, dict[str, str]]) -> dict[str, object]:
    """The schema as sqlglot wants it: as deep as its deepest name."""
    deepest = max((name.count(".") for name in schema), default=0)
    nested: dict[str, object] = {}
    for name, columns in schema.items():
        parts = name.split(".")
        inner = nested
        for part in ["main"] * (deepest + 1 - len(parts)) + parts:
            inner = inner.setdefault(part, {})  # type: ignore[assignment]
        inner.update({column: type_ or "UNKNOWN" for column, type_ in columns.items()})
    return nested
