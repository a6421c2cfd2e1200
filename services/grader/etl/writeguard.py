"""Takes an agent's statement apart and puts it together anew, so that it writes where it may and nowhere else.

Invariant: what runs is what was checked. The frame (CREATE, INSERT, …, with its target) is written here; each query and
expression inside has passed the guard of services.sandbox.guard, which knows the tables that may be read. What is not
known is refused. Runs in a process of its own (services.grader.etl.worker): standard library, duckdb and sqlglot only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from services.contracts.frozen import FrozenJob
from services.grader.etl.changes import change_parts
from services.grader.etl.frames import Parts, Refusal, split
from services.sandbox.guard import SCHEMAS, Guard, Rejection, parser_on, walk

MAX_STATEMENTS = 50
OWN = "run"
"""The catalog of a run (services.grader.runtime.engine)."""
RESERVED = "__"
"""How names begin that are the grader's own."""


@dataclass(frozen=True)
class Scope:
    """What a job's statements may touch."""

    job_id: str
    tables: dict[str, frozenset[str]]
    """Readable tables by lower-case dotted name, each with its lower-case columns."""
    output: str
    """Lower-case dotted name of the output, as the SQL names it."""
    stored: str
    """The base table of the run that stands for the output."""
    exists: bool
    """Whether the output is there before the first statement."""
    recreate: bool
    """Whether the output may be made anew."""


@dataclass(frozen=True)
class Judged:
    """A statement as it may run."""

    sql: tuple[str, ...]
    volatile: bool
    """Its result may differ from run to run."""


class QueryGuard(Guard):
    """The sandbox's guard over tables with dotted names."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: dict[str, frozenset[str]]) -> None:
        parts = {part for name in tables for part in name.split(".")[:-1]}
        super().__init__(connection, tables, SCHEMAS | parts | {OWN})
        self._tables = tables

    def _parse(self, sql: str) -> dict[str, Any] | Rejection:
        """The tree, in which a known table's whole dotted name stands as its name."""
        tree = super()._parse(sql)
        for node in () if isinstance(tree, Rejection) else walk(tree):
            if node.get("type") == "BASE_TABLE" and node.get("schema_name"):
                parts = (node.get("catalog_name"), node["schema_name"], node.get("table_name"))
                name = ".".join(str(part).lower() for part in parts if part)
                if name in self._tables:
                    node.pop("catalog_name", None)
                    del node["schema_name"]
                    node["table_name"] = name
        return tree


class WriteGuard:
    """Judges the statements of one job in their order; temporary tables of earlier ones are known to later ones."""

    def __init__(self, scope: Scope, parser: duckdb.DuckDBPyConnection | None = None) -> None:
        """`parser` comes from services.sandbox.guard.parser_on; by default it is one of its own."""
        self._scope = scope
        self._frozen = FrozenJob(scope.job_id)
        self._connection = parser or parser_on(duckdb.connect(config={"threads": 1}))
        self._own: set[str] = set()
        self._output_there = scope.exists
        self._volatile = False

    def query(self, sql: str) -> Judged:
        """One query by itself. Raises Refusal."""
        self._volatile = False
        self._check(sql)
        return Judged((sql,), self._volatile)

    def statements(self, texts: Sequence[str]) -> list[Judged]:
        """Every statement of a rewrite. Raises Refusal, which names the statement."""
        if not 0 < len(texts) <= MAX_STATEMENTS:
            raise Refusal("too_long", f"a rewrite has 1 to {MAX_STATEMENTS} statements, not {len(texts)}")
        judged = []
        for number, sql in enumerate(texts, 1):
            try:
                judged.append(self._statement(sql))
            except Refusal as error:
                raise Refusal(error.reason, f"statement {number}: {error}") from error
        if not self._output_there:
            raise Refusal("forbidden", f"the statements do not make {self._scope.output}")
        return judged

    def _statement(self, sql: str) -> Judged:
        self._volatile = False
        composed = self._composed(split(sql))
        return Judged(tuple(composed), self._volatile)

    def _composed(self, parts: Parts) -> list[str]:
        tree = _tree(parts.frame)
        match tree:
            case exp.Create():
                return self._create(tree, parts.body)
            case exp.Insert():
                return self._insert(tree, parts.body)
            case exp.Drop():
                return self._drop(tree)
            case exp.TruncateTable():
                (table,) = _only(tree, "expressions", "is_database", "exists").expressions or (None,)
                return [f"DELETE FROM {self._writable(table)}"]
            case exp.Delete() | exp.Update() | exp.Merge():
                return self._change(tree)
            case _:
                raise Refusal("forbidden", "only CREATE TABLE or VIEW … AS, INSERT, UPDATE, DELETE, MERGE and DROP run")

    def _create(self, tree: exp.Create, body: str) -> list[str]:
        _only(tree, "this", "kind", "replace", "expression", "exists", "properties")
        kind = str(tree.args["kind"]).upper()
        temporary = _is_temporary(tree)
        if kind not in ("TABLE", "VIEW") or (kind == "VIEW" and not temporary):
            raise Refusal("forbidden", "only tables and temporary views can be made")
        if not tree.expression:
            return self._create_empty(tree, temporary)
        self._check(body)
        if temporary or self._name(tree.this) != self._scope.output:
            name = self._new(tree.this)
            replace = "OR REPLACE " if tree.args.get("replace") else ""
            return [f"CREATE {replace}TEMP {kind} {_quoted(name)} AS FROM (\n{body}\n)"]
        return self._make_output(tree, f" AS FROM (\n{body}\n)")

    def _create_empty(self, tree: exp.Create, temporary: bool) -> list[str]:
        schema = tree.this
        if not isinstance(schema, exp.Schema) or str(tree.args["kind"]).upper() != "TABLE":
            raise Refusal("forbidden", "CREATE needs a query or a list of columns")
        columns = ", ".join(map(self._column, schema.expressions))
        if temporary or self._name(schema.this) != self._scope.output:
            return [f"CREATE TEMP TABLE {_quoted(self._new(schema.this))} ({columns})"]
        return self._make_output(tree, f" ({columns})")

    def _column(self, column: exp.Expr) -> str:
        if not isinstance(column, exp.ColumnDef) or not column.kind or column.args.get("constraints"):
            raise Refusal("forbidden", "a column has a name and a type, and nothing else")
        kind = column.kind.sql("duckdb")
        self._check(f"SELECT CAST(NULL AS {kind})")
        return f"{_quoted(column.name)} {kind}"

    def _make_output(self, tree: exp.Create, rest: str) -> list[str]:
        """The output itself, and the name by which later statements read it."""
        name, stored = self._scope.output, self._scope.stored
        if tree.args.get("exists") and self._output_there:
            return []
        if not self._scope.recreate:
            raise Refusal("forbidden", f"{name} is there already: change its rows as the original does")
        replace = "OR REPLACE " if tree.args.get("replace") else ""
        self._output_there = True
        made = [f"CREATE {replace}TABLE {OWN}.main.{_quoted(stored)}{rest}"]
        if name != stored:
            made.append(f"CREATE OR REPLACE VIEW {_dotted(name)} AS FROM {OWN}.main.{_quoted(stored)}")
        return made

    def _insert(self, tree: exp.Insert, body: str) -> list[str]:
        _only(tree, "this", "expression", "by_name", "overwrite", "exists")
        table, columns = tree.this, ""
        if isinstance(table, exp.Schema):
            columns = f" ({', '.join(_quoted(column.name) for column in table.expressions)})"
            table = table.this
        target = self._writable(table)
        self._check(body)
        how = " BY NAME" if tree.args.get("by_name") else ""
        if not tree.args.get("overwrite"):
            return [f"INSERT INTO {target}{columns}{how} (\n{body}\n)"]
        kept = f"temp.{RESERVED}overwrite"  # the query may read what is overwritten
        made = f"CREATE OR REPLACE TEMP TABLE {RESERVED}overwrite AS FROM (\n{body}\n)"
        return [made, f"DELETE FROM {target}", f"INSERT INTO {target}{columns}{how} FROM {kept}"]

    def _drop(self, tree: exp.Drop) -> list[str]:
        _only(tree, "exists", "tables", "this", "kind", "temporary")
        tables = tree.args.get("tables") or [tree.this]
        kind, exists = str(tree.args["kind"]).upper(), "IF EXISTS " if tree.args.get("exists") else ""
        if len(tables) != 1 or kind not in ("TABLE", "VIEW"):
            raise Refusal("forbidden", "DROP takes one table or view")
        name = self._name(tables[0])
        if name in self._own:
            self._own.discard(name)
            return [f"DROP {kind} {exists}temp.{_quoted(name)}"]
        if name == self._scope.output and self._scope.recreate and kind == "TABLE":
            self._output_there = False
            return [f"DROP TABLE {exists}{OWN}.main.{_quoted(self._scope.stored)}"]
        if exists and name not in self._scope.tables and name != self._scope.output:
            return []
        raise Refusal("forbidden", f"{name} cannot be dropped")

    def _change(self, tree: exp.Delete | exp.Update | exp.Merge) -> list[str]:
        """DELETE, UPDATE or MERGE from its parts, each of which is checked where it stands in a query."""
        table = tree.this
        if not isinstance(table, exp.Table):
            raise Refusal("forbidden", "the target must be one table")
        alias = _quoted(table.alias or table.name)
        parts = change_parts(_only(tree, *_CHANGE_ARGUMENTS))
        if parts is None:
            raise Refusal("forbidden", "this form of UPDATE, DELETE or MERGE is not known here")
        target = self._writable(table)
        for query in parts.queries():
            self._check(query)
        return [parts.statement(target, alias)]

    def _check(self, query: str) -> None:
        """Have the sandbox's guard judge a query. Raises Refusal."""
        tables = dict(self._scope.tables) | {name: frozenset[str]() for name in self._own}
        if self._output_there:
            tables.setdefault(self._scope.output, frozenset())
        found = QueryGuard(self._connection, tables).inspect(query)
        if isinstance(found, Rejection):
            raise Refusal(found.reason or "unknown", found.message)
        self._volatile |= bool(found["volatile"])

    def _writable(self, table: object) -> str:
        """The stored name of a table whose rows may be changed. Raises Refusal."""
        name = self._name(table)
        if name in self._own:
            return f"temp.{_quoted(name)}"
        if name == self._scope.output and self._output_there:
            return f"{OWN}.main.{_quoted(self._scope.stored)}"
        raise Refusal("forbidden", f"{name} cannot be written: only {self._scope.output} and temporary tables can")

    def _new(self, table: object) -> str:
        """A name for a temporary table or view, which hides nothing. Raises Refusal."""
        name = self._name(table)
        taken = {part for known in (*self._scope.tables, self._scope.output) for part in (known, *known.split("."))}
        if "." in name:
            raise Refusal("forbidden", f"only {self._scope.output} and temporary tables can be made, not {name}")
        if name in taken | SCHEMAS | {OWN, self._scope.stored} or name.startswith(RESERVED):
            raise Refusal("forbidden", f"{name} is taken: choose another name for a temporary table")
        self._own.add(name)
        return name

    def _name(self, table: object) -> str:
        """The lower-case dotted name of a table that stands where it would be written. Raises Refusal."""
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise Refusal("forbidden", "the target must be a table's name")
        _only(table, "this", "db", "catalog", "alias")
        name = ".".join(part.name.lower() for part in table.parts)
        if name != self._scope.output and self._frozen.named_by(name):
            raise Refusal("forbidden", "the production job is frozen: nothing may be written in its name")
        if not name.isprintable():
            raise Refusal("forbidden", "a name has letters that cannot be seen")
        return name


_CHANGE_ARGUMENTS = ("this", "where", "using", "expressions", "from_", "on", "whens")


def _tree(sql: str) -> exp.Expr:
    try:
        parsed = [tree for tree in sqlglot.parse(sql, read="duckdb") if tree and not isinstance(tree, exp.Semicolon)]
    except SqlglotError as error:
        raise Refusal("syntax", str(error).split("\n")[0][:300]) from error
    except RecursionError:
        raise Refusal("forbidden", "the statement is nested too deeply") from None
    if len(parsed) != 1:
        raise Refusal("forbidden", f"send one statement at a time, not {len(parsed)}")
    return parsed[0]


def _only(tree: exp.Expr, *names: str) -> exp.Expr:
    """The tree, which must have no other parts than these. Raises Refusal."""
    more = sorted(key for key, value in tree.args.items() if value and key not in names)
    if more:
        raise Refusal("forbidden", f"{tree.key.upper()} with {more[0].strip('_')} is not allowed")
    return tree


def _is_temporary(tree: exp.Create) -> bool:
    properties = tree.args.get("properties")
    kinds = properties.expressions if properties else []
    if not all(isinstance(kind, exp.TemporaryProperty) for kind in kinds):
        raise Refusal("forbidden", "CREATE takes no properties but TEMP")
    return bool(kinds)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _dotted(name: str) -> str:
    return ".".join(map(_quoted, name.split(".")))
