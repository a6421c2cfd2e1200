"""From the text of a query to what is known of its columns and rows: sqlglot qualifies names, this reads the tree.

Invariant: a query that sqlglot or this module cannot read raises NotUnderstood; it is never taken as harmless.
"""

from collections.abc import Mapping
from dataclasses import replace

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from services.grader.etl.nondeterminism.expressions import Expressions
from services.grader.etl.nondeterminism.facts import Facts, Findings, Relation, hardened, merged
from services.grader.etl.nondeterminism.frames import Frame, NotUnderstood
from services.grader.etl.nondeterminism.selects import LIMITED, Selects, deduplicated
from services.grader.etl.nondeterminism.sources import Sources, table_function

Tables = Mapping[str, Relation]
ROUNDS = 8
"""How often a recursive CTE is read again until its findings stay the same."""


def find_table(name: str, tables: Tables) -> str:
    """The known table that a name means: by its whole name, or by the end of it. Raises NotUnderstood."""
    if name in tables:
        return name
    parts = name.split(".")
    near = [known for known in tables if _ends_alike(known.split("."), parts)]
    if len(near) != 1:
        raise NotUnderstood(f"{name} is {'no known table' if not near else 'the name of several tables'}")
    return near[0]


def _ends_alike(known: list[str], parts: list[str]) -> bool:
    shorter = min(len(known), len(parts))
    return known[-shorter:] == parts[-shorter:]


def full_name(table: exp.Table) -> str:
    """A table's dotted name, lower case."""
    return ".".join(part.name.lower() for part in table.parts)


def relation_of(query: exp.Query, tables: Tables) -> Relation:
    """What is known of a query's result before it runs. Raises NotUnderstood."""
    qualified, flat = _qualified(query.copy(), tables)
    return _Queries().read(qualified, Frame(flat))


def _qualified(query: exp.Query, tables: Tables) -> tuple[exp.Query, Tables]:
    """The query with every column qualified, over tables with names of one part."""
    flat: dict[str, Relation] = {}
    schema: dict[str, object] = {}
    try:
        scopes = list(traverse_scope(query))
    except SqlglotError as error:
        raise NotUnderstood(str(error).splitlines()[0]) from error
    real = [source for scope in scopes for source in scope.sources.values() if isinstance(source, exp.Table)]
    for table in real:
        if not isinstance(table.this, exp.Identifier) or table.meta.get("assay"):
            continue
        name = find_table(full_name(table), tables)
        short = f"assay_table_{list(tables).index(name)}"
        _flatten(table, short)
        flat[short] = tables[name]
        schema[short] = dict.fromkeys(tables[name].columns, "UNKNOWN")
    for column in query.find_all(exp.Column):
        column.set("db", None)
        column.set("catalog", None)
    try:
        found = qualify(
            query, schema=schema, dialect="duckdb", quote_identifiers=False, identify=False, sql=query.sql("duckdb")
        )
    except SqlglotError as error:
        raise NotUnderstood(str(error).splitlines()[0]) from error
    if not isinstance(found, exp.Query):
        raise NotUnderstood("it is no query")
    return found, flat


def _flatten(table: exp.Table, short: str) -> None:
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
    table.set("this", exp.to_identifier(short))
    table.set("db", None)
    table.set("catalog", None)
    table.meta["assay"] = True


class _Queries:
    """Reads qualified queries."""

    def __init__(self) -> None:
        expressions = Expressions(self._within)
        self._expressions = expressions
        self._selects = Selects(expressions, Sources(expressions, self._source))

    def _within(self, query: exp.Query, frame: Frame) -> Relation:
        return self.read(query, Frame(frame.tables, frame))

    def read(self, query: exp.Query, frame: Frame) -> Relation:
        """The relation of a query; `frame` is a new one of its own."""
        frame.tables = self._with(query, frame)
        match query:
            case exp.Select():
                return self._selects.read(query, frame)
            case exp.SetOperation():
                return self._set_operation(query, frame)
            case exp.Subquery():
                inner = self.read(query.this, Frame(frame.tables, frame.parent))
                return self._cut(query, inner)
        raise NotUnderstood(f"{type(query).__name__} is not understood")

    def _with(self, query: exp.Query, frame: Frame) -> Tables:
        clause = query.args.get("with_")
        tables = dict(frame.tables)
        if clause is None:
            return tables
        for cte in clause.expressions:
            inner = Frame(tables, frame.parent)
            names = [column.name.lower() for column in cte.args["alias"].args.get("columns") or ()]
            if clause.args.get("recursive") and _names(cte.this, cte.alias):
                relation = self._recursive(cte, tables, frame, names)
            else:
                relation = self.read(cte.this, inner).renamed(names)
            tables = {**tables, cte.alias: relation}
        return tables

    def _recursive(self, cte: exp.CTE, tables: Tables, frame: Frame, names: list[str]) -> Relation:
        """A recursive CTE: read again over its own result until nothing is found any more; it has no keys."""
        if not isinstance(cte.this, exp.Union):
            raise NotUnderstood("a recursive CTE that is no UNION is not understood")
        found = self.read(cte.this.this, Frame(tables, frame.parent)).renamed(names)
        for _ in range(ROUNDS):
            bare = Relation(found.columns, found.rows)
            again = self.read(cte.this, Frame({**tables, cte.alias: bare}, frame.parent)).renamed(names)
            if (dict(again.columns), again.rows) == (dict(bare.columns), bare.rows):
                return bare
            found = again
        raise NotUnderstood(f"the findings of the recursive CTE {cte.alias} do not settle")

    def _set_operation(self, query: exp.SetOperation, frame: Frame) -> Relation:
        left = self.read(query.left, Frame(frame.tables, frame.parent))
        right = self.read(query.right, Frame(frame.tables, frame.parent))
        rows = left.rows | right.rows
        keys = frozenset[frozenset[str]]()
        columns = _stacked(left, right, by_name=bool(query.args.get("by_name")))
        if not isinstance(query, exp.Union):
            compared = [facts.findings for side in (left, right) for facts in side.columns.values()]
            rows = rows.union(*(hardened(findings, "EXCEPT or INTERSECT") for findings in compared))
            columns = {name: replace(facts, pick=None) for name, facts in left.columns.items()}
            keys = left.keys
        found = Relation(columns, rows, keys)
        if query.args.get("distinct", True):
            found = deduplicated(found)
        return self._cut(query, found)

    def _cut(self, query: exp.Query, relation: Relation) -> Relation:
        """LIMIT and OFFSET over a whole query: its ORDER BY has to fix every column."""
        limited = query.args.get("limit") or query.args.get("offset")
        if not limited or frozenset() in relation.keys:
            return relation
        order = query.args.get("order")
        names = {part.this.name.lower() for part in order.expressions} if order is not None else set()
        found: Findings = frozenset()
        for name in names & relation.columns.keys():
            found |= hardened(relation.columns[name].findings, "ORDER BY with LIMIT")
        if not any(key <= names for key in relation.keys) and not relation.columns.keys() <= names:
            found |= {LIMITED}
        return replace(relation, rows=relation.rows | found)

    def _source(self, node: exp.Expr, frame: Frame) -> Relation:
        """A source of a FROM: a table, CTE, subquery, VALUES, or a function that gives rows."""
        if node.args.get("pivots"):
            raise NotUnderstood("PIVOT and UNPIVOT are not understood")
        match node:
            case exp.Table() if isinstance(node.this, exp.Identifier):
                return frame.tables[find_table(full_name(node), frame.tables)]
            case exp.Table():
                return table_function(node.this, frame, self._expressions)
            case exp.Subquery() if isinstance(node.this, exp.Table):
                raise NotUnderstood("a join in parentheses is not understood")
            case exp.Subquery():
                return self.read(node, Frame(frame.tables, frame.parent))
            case exp.Lateral():
                return self._lateral(node.this, frame)
            case exp.Values():
                return self._values(node, frame)
        return table_function(node, frame, self._expressions)

    def _lateral(self, node: exp.Expr, frame: Frame) -> Relation:
        if isinstance(node, exp.Query):
            return self.read(node, Frame(frame.tables, frame))
        return table_function(node, frame, self._expressions)

    def _values(self, node: exp.Values, frame: Frame) -> Relation:
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        columns = {
            f"col{place}": merged(self._expressions.facts(value, frame) for value in column)
            for place, column in enumerate(zip(*rows, strict=True))
        }
        return Relation({name: replace(facts, derived=True) for name, facts in columns.items()})


def _stacked(left: Relation, right: Relation, by_name: bool) -> dict[str, Facts]:
    """The columns of rows that come from both sides."""
    if by_name:
        names = dict.fromkeys([*left.columns, *right.columns])
        return {name: merged(side.columns[name] for side in (left, right) if name in side.columns) for name in names}
    pairs = zip(left.columns.items(), right.columns.values(), strict=True)
    return {name: merged([mine, theirs]) for (name, mine), theirs in pairs}


def _names(query: exp.Expr, alias: str) -> bool:
    return any(table.name.lower() == alias.lower() for table in query.find_all(exp.Table))
