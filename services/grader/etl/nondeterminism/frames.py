"""The names that an expression may use: the sources of its SELECT, and those of the SELECTs around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from services.grader.etl.nondeterminism.facts import NONE, Facts, Findings, Relation
from services.grader.etl.nondeterminism.functions import nature_of
from services.grader.etl.nondeterminism.spaces import Space, Term, Terms


class NotUnderstood(Exception):
    """A part of the SQL that the classifier does not read; what depends on it is refused, class F."""


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an expression aggregates the rows of its own SELECT; functions over a window do not."""
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        function = node.this
        while isinstance(function, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
            function = function.this
        below = [*function.iter_expressions(), *(part for part in node.iter_expressions() if part is not node.this)]
        return any(map(has_aggregate, below))
    aggregates = isinstance(node, exp.Func) and nature_of(node) == "aggregate"
    return aggregates or any(map(has_aggregate, node.iter_expressions()))


def _is_volatile(node: exp.Expr) -> bool:
    return any(nature_of(function) in ("volatile", "unknown") for function in node.find_all(exp.Func))


@dataclass
class Frame:
    """One SELECT while it is read."""

    tables: Mapping[str, Relation]
    """Tables and CTEs by name."""
    parent: "Frame | None" = None
    sources: dict[str, Relation] = field(default_factory=dict)
    space: Space = field(default_factory=Space)
    groups: tuple[Term, ...] = ()
    """What GROUP BY groups by."""
    grouped: Space | None = None
    """The groups as rows, once there are any."""
    rows: Findings = NONE
    """Findings about which rows aggregates and windows see."""
    merged: dict[str, exp.Column] = field(default_factory=dict)
    """What COALESCE of both sides of a join's equality comes to, by its text: the left column, as USING has it."""
    conditions: list[exp.Expr] = field(default_factory=list)
    """What WHERE and the joins ask of the rows, but for picks by number."""
    outputs: dict[str, exp.Expr] = field(default_factory=dict)
    windows: dict[str, exp.Expr] = field(default_factory=dict)

    @property
    def result(self) -> Space:
        """The rows that windows, ORDER BY and LIMIT see: the groups, where there are any."""
        return self.grouped or self.space

    def facts(self, column: exp.Column) -> Facts:
        """What is known of a column. Raises NotUnderstood if no source has it."""
        source = self.sources.get(column.table)
        if source is not None and column.name.lower() in source.columns:
            return source.columns[column.name.lower()]
        if self.parent is None:
            raise NotUnderstood(f"{column.sql('duckdb')} is a column of nothing that is known")
        return self.parent.facts(column)

    def output(self, node: exp.Expr) -> exp.Expr:
        """The expression behind an alias of the SELECT list, where there is one."""
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self.outputs:
            return self.outputs[node.name.lower()]
        return node

    def plain(self, node: exp.Expr) -> exp.Expr:
        """The column that a COALESCE of joined columns comes to, where it does."""
        return self.merged.get(node.sql("duckdb"), node) if isinstance(node, exp.Coalesce) and self.merged else node

    def term(self, node: exp.Expr) -> Term | None:
        """An expression as a term; None if it is constant here, as columns of an outer SELECT are."""
        node = self.plain(self.output(node).unalias())
        if isinstance(node, exp.Column):
            return (node.table, node.name.lower()) if node.table in self.sources else None
        varies = self.used(node) or has_aggregate(node) or _is_volatile(node)
        return ("", node.sql("duckdb")) if varies else None

    def used(self, node: exp.Expr) -> Terms:
        """The columns of this SELECT's own sources that an expression names."""
        columns = (column for column in node.find_all(exp.Column) if column.table in self.sources)
        return frozenset((column.table, column.name.lower()) for column in columns)

    def fixed(self, node: exp.Expr, known: Terms) -> bool:
        """Whether the columns of a closure settle an expression's value, as far as it has no findings of its own."""
        node = self.plain(self.output(node).unalias())
        term = self.term(node)
        if term is None or term in known:
            return True
        return not (has_aggregate(node) or node.find(exp.Window, exp.Query, exp.Star)) and self.used(node) <= known
