"""Scope: what the names in one SELECT mean, and its expressions as items."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from services.policy.heuristic.reading import Schema, Table
from services.policy.tier.operations import Arithmetic, Function, Item, Project, Ref
from services.policy.tier.translating.refusal import Untranslatable

_FUNCTIONS: dict[type[exp.Expr], Function] = {
    exp.Count: "count", exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max",
}  # fmt: skip
_ARITHMETIC: dict[type[exp.Expr], Arithmetic] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "/",
}  # fmt: skip
_WRAPPERS = (
    exp.Paren, exp.Cast, exp.TryCast, exp.AnyValue, exp.IgnoreNulls, exp.ArgMax, exp.ArgMin, exp.Alias, exp.Not, exp.Is,
)  # fmt: skip


@dataclass(slots=True)
class Scope:
    """The sources in the order in which operations join them, by alias; and the outputs by their names.

    `order` has the sources' places in the order in which the query names them.
    """

    schema: Schema
    names: dict[str, int] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    outputs: list[tuple[str, exp.Expr]] = field(default_factory=list)
    order: list[int] = field(default_factory=list)

    def add(self, alias: str, table: Table) -> None:
        """One more source."""
        self.names[alias.lower()] = len(self.tables)
        self.tables.append(table)

    def name_outputs(self, tree: exp.Select) -> None:
        """Let order and group speak of what the query shows."""
        self.outputs = [(node.alias.lower(), node.unalias()) for node in tree.expressions]

    def ref(self, column: exp.Column) -> Ref:
        """The column's source and name. Raises Untranslatable."""
        name, alias = column.name.lower(), column.table.lower()
        if alias and alias not in self.names:
            raise Untranslatable("a correlated sub-query")
        places = [self.names[alias]] if alias else range(len(self.tables))
        for place in places:
            found = next((c.name for c in self.tables[place].columns if c.name.lower() == name), None)
            if found is not None:
                return Ref(place, found)
        raise Untranslatable("a column that is not of its tables")

    def output(self, node: exp.Expr) -> exp.Expr:
        """What a number or the name of an output stands for."""
        if isinstance(node, exp.Literal) and node.is_int and 0 < int(node.name) <= len(self.outputs):
            return self.outputs[int(node.name) - 1][1]
        if isinstance(node, exp.Column) and not node.table:
            return next((shown for name, shown in self.outputs if name == node.name.lower()), node)
        return node

    def order_item(self, node: exp.Expr) -> Item:
        """What is ordered by; of the keys that stand for a column of mixed values, the column."""
        return self.item(self.output(node))

    def item(self, node: exp.Expr) -> Item:
        """The expression as an item. Raises Untranslatable."""
        if isinstance(node, exp.And):
            return self.item(node.this)
        while isinstance(node, _WRAPPERS):
            node = node.this
        if isinstance(node, exp.Column):
            return Item(self.ref(node))
        if isinstance(node, exp.Case | exp.Coalesce):
            return self._spread(node)
        function = _FUNCTIONS.get(type(node))
        if function is None:
            raise Untranslatable(f"an expression: {type(node).__name__}")
        return self._aggregate(node, function)

    def _aggregate(self, node: exp.Expr, function: Function) -> Item:
        inner, distinct = node.this, isinstance(node.this, exp.Distinct)
        if distinct:
            if len(inner.expressions) != 1:
                raise Untranslatable("a function of several columns")
            inner = inner.expressions[0]
        if isinstance(inner, exp.Star) or inner is None:
            return Item(None, "count")
        if isinstance(inner, exp.Literal) and function == "count":
            return Item(None, "count")
        item = self.item(inner)
        if item.function:
            raise Untranslatable("a function of a function")
        return Item(item.ref, function, distinct)

    def _spread(self, node: exp.Expr) -> Item:
        """What SQLite's reading of text as numbers has become in DuckDB's words: a column, or its MIN or MAX."""
        columns = {self.ref(column) for column in node.find_all(exp.Column)}
        if len(columns) != 1:
            raise Untranslatable(f"an expression: {type(node).__name__}")
        function: Function = ""
        if node.find(exp.ArgMax, exp.ArgMin, exp.Max, exp.Min):
            function = "max" if node.find(exp.ArgMax, exp.Max) else "min"
        return Item(columns.pop(), function)

    def projects(self, node: exp.Expr) -> Iterator[Project]:
        """The operations that show the expression."""
        node = node.unalias()
        if isinstance(node, exp.Star):
            for place in self.order:
                yield from self._whole(place)
        elif isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
            yield from self._whole(self.names.get(node.table.lower(), 0))
        elif isinstance(node, exp.Binary) and type(node) in _ARITHMETIC:
            yield Project(self.item(node.this), _ARITHMETIC[type(node)], self.item(node.expression))
        else:
            yield Project(self.item(node))

    def _whole(self, place: int) -> Iterator[Project]:
        for column in self.tables[place].columns:
            yield Project(Item(Ref(place, column.name)))
