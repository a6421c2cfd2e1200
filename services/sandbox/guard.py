"""Lets one harmless SELECT through and says what it reads, from the engine's own syntax tree.

Invariant: what is not known to be harmless is refused. Node kinds, functions and tables are allowed by name; nothing
is forbidden by name alone. Runs in the sandbox child, on a trusted connection that has no database, so that a bomb
for the parser costs a child and nothing else. Standard library and duckdb only.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from services.sandbox import pivot
from services.sandbox.tree import facts_of, spell_out_method

MAX_CHARACTERS = 20_000
DATABASE = "db"

VOLATILE = frozenset(
    [
        "random",
        "uuid",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "now",
        "today",
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "get_current_time",
        "get_current_timestamp",
        "current_localtime",
        "current_localtimestamp",
        "transaction_timestamp",
        "age",
        "ago",
        "reservoir_quantile",
    ]
)
BARE = frozenset(["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"])
"""Volatile functions that DuckDB calls by their name alone; any other name alone is a column's, `age` above all."""
FUNCTIONS = frozenset(Path(__file__).with_name("functions.txt").read_text(encoding="utf-8").split()) | VOLATILE
TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree"})
EXPRESSIONS = frozenset(
    [
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "LAMBDA",
        "OPERATOR",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "WINDOW",
    ]
)
SOURCES = frozenset(["BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "TABLE_FUNCTION"])
NODES = frozenset(["SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"])
DETAILS = frozenset(
    [
        "DISTINCT_MODIFIER",
        "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER",
        "ORDER_MODIFIER",
        "ORDER_DEFAULT",
        "ORDER_ASCENDING",
        "ORDER_DESCENDING",
        "ASCENDING",
        "DESCENDING",
    ]
)
UNSAFE_TYPES = frozenset({"VARIANT", "AGGREGATE_STATE", "TABLE", "POINTER"})
SCHEMAS = frozenset({"main", DATABASE, "system", "temp", "memory", "pg_catalog", "information_schema"})
"""Names of schemas and databases of an instance. What else stands before a function is the column it is called on."""
SHAPED = frozenset({"json_transform", "json_transform_strict", "from_json", "from_json_strict"})
"""Functions that build a type from their second argument: one that is nested deeply ends the process."""
BOUNDED = frozenset({"json_structure", "json_group_structure", "json_contains", "json_merge_patch"})
"""Functions that end the process on deeply nested text; the engine has macros of their names, which refuse it."""
_SHAPE = frozenset({"struct_pack", "row", "list_value"})
SHAPE_BRACKETS = 1_000
OPERATOR_RUN = 32
"""Signs that the engine's lexer may read again and again, at most so many in a run: time grows with their cube."""
_RUNS = re.compile(r"[~!@^&|`?+\-*/%<>=]{64,}")
_FILE_LIKE = frozenset("/\\:*?.")

Schema = Mapping[str, frozenset[str]]
"""Lower-case table names, each with its lower-case column names."""


@dataclass(frozen=True)
class Rejection:
    """Why a statement was not run: `kind` is refused or sql_error, `reason` one of syntax, forbidden, too_long."""

    kind: str
    reason: str
    message: str


class Forbidden(Exception):
    """A part of the syntax tree that is not on the list."""


def parser_on(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection with the engine's own parser prepared on it, which a Guard needs."""
    return connection.execute("PREPARE parse AS SELECT json_serialize_sql($1::VARCHAR, skip_default := true)")


class Guard:
    """Judges statements against one database's schema.

    `connection` comes from `parser_on`; `schemas` are the lower-case names of all schemas and databases of the instance
    that statements will run on.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, schema: Schema, schemas: frozenset[str] = SCHEMAS
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._schemas = schemas

    def inspect(self, sql: str) -> dict[str, Any] | Rejection:
        """The statement's facts (the fields of QueryFacts), or why it must not run. Raises MemoryError."""
        if len(sql) > MAX_CHARACTERS:
            return Rejection("refused", "too_long", f"the statement is longer than {MAX_CHARACTERS} characters")
        if "\x00" in sql:
            return Rejection("refused", "syntax", "the statement holds a NUL character")
        try:
            sql.encode()
        except UnicodeEncodeError:
            return Rejection("refused", "syntax", "the statement is not valid Unicode")
        if _is_bomb(sql):
            return Rejection("refused", "forbidden", f"a run of more than {OPERATOR_RUN} comment openers or plus signs")
        try:
            parsed = self._parse(sql)
        except RecursionError:
            return Rejection("refused", "forbidden", "the statement is nested too deeply")
        return parsed if isinstance(parsed, Rejection) else self._judge(parsed)

    def _parse(self, sql: str) -> dict[str, Any] | Rejection:
        """The one statement of the text as a tree; that of a PIVOT without values has a name in their place."""
        tree = self._serialized(sql)
        if isinstance(tree, dict) and tree.get("error_type") == "not implemented" and pivot.mentions_pivot(sql):
            return self._parse_pivot(sql)
        return _only_statement(tree, sql) if isinstance(tree, dict) else tree

    def _parse_pivot(self, sql: str) -> dict[str, Any] | Rejection:
        marked, count = pivot.marked(sql)
        tree = self._serialized(marked)
        statement = _only_statement(tree, sql) if isinstance(tree, dict) else tree
        if isinstance(statement, Rejection):
            return statement
        sources = [node for node in walk(statement) if node.get("type") == "PIVOT"]
        if not pivot.is_faithful(sources, count) or not pivot.expands_to(self._connection, sql, count):
            return Rejection("refused", "forbidden", "this PIVOT is not allowed: list its values with IN (...)")
        return statement

    def _serialized(self, sql: str) -> dict[str, Any] | Rejection:
        literal = sql.replace("'", "''")
        try:
            row = self._connection.execute(f"EXECUTE parse('{literal}')").fetchone()
        except duckdb.OutOfMemoryException as error:  # says nothing of the statement: the child may be worn out
            raise MemoryError from error
        except duckdb.Error as error:
            return Rejection("refused", "syntax", first_line(str(error)))
        tree: dict[str, Any] = json.loads(row[0] if row else "{}")
        return tree

    def _judge(self, statement: dict[str, Any]) -> dict[str, Any] | Rejection:
        try:
            if statement.get("named_param_map"):
                raise Forbidden("parameters are not allowed: write the value")
            marks = [_check(node, self._schemas) for node in walk(statement["node"])]  # each one, before any answer
            facts = facts_of(statement["node"], self._schema)
        except Forbidden as error:
            return Rejection("refused", "forbidden", str(error))
        except RecursionError:
            return Rejection("refused", "forbidden", "the statement is nested too deeply")
        unknown = facts.pop("unknown")
        if unknown:
            return _unknown_table(unknown[0], self._schema)
        return {**facts, "volatile": any(marks)}


def first_line(message: str) -> str:
    """The message without the engine's stack or hints, at most 300 characters."""
    return message.strip().split("\n")[0][:300]


def walk(tree: object) -> Iterator[dict[str, Any]]:
    """Every object of the tree, the outer one first; the inside of a constant is data and left out."""
    if isinstance(tree, dict):
        yield tree
        if tree.get("class") != "CONSTANT":
            for value in tree.values():
                yield from walk(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from walk(item)


def _only_statement(tree: dict[str, Any], sql: str) -> dict[str, Any] | Rejection:
    if tree.get("error"):
        return _parse_failure(str(tree.get("error_type")), str(tree.get("error_message")), sql)
    statements = tree.get("statements", [])
    if len(statements) != 1:
        return Rejection("refused", "forbidden", f"send exactly one statement, not {len(statements)}")
    statement: dict[str, Any] = statements[0]
    return statement


def _parse_failure(kind: str, message: str, sql: str) -> Rejection:
    if kind != "not implemented":
        return Rejection("refused", "syntax", first_line(message))
    if sql.lstrip().lower().startswith("explain"):
        return Rejection("refused", "forbidden", "EXPLAIN is not allowed: send the SELECT itself")
    if pivot.mentions_pivot(sql):
        return Rejection("refused", "forbidden", "only SELECT statements are allowed; list a PIVOT's values: IN (...)")
    return Rejection("refused", "forbidden", "only SELECT statements are allowed")


def _is_bomb(sql: str) -> bool:
    """Whether the engine's lexer would take seconds over the text."""
    if sql.count("/*") <= OPERATOR_RUN and sql.count("+") <= OPERATOR_RUN:
        return False
    runs = _RUNS.findall(sql)
    return any(run.count("/*") > OPERATOR_RUN or run.count("+") > OPERATOR_RUN for run in runs)


def _unknown_table(name: str, schema: Schema) -> Rejection:
    if not _FILE_LIKE.isdisjoint(name):
        return Rejection("refused", "forbidden", "only the tables of this database can be read")
    known = ", ".join(sorted(schema))
    return Rejection("sql_error", "", f"Table {name} does not exist. Tables: {known}"[:500])


def _check(node: dict[str, Any], schemas: frozenset[str]) -> bool:
    """Raise Forbidden unless the node is on the lists; True if it makes the result volatile."""
    kind = node.get("type")
    if "class" in node:
        return _check_expression(node, schemas)
    if "id" in node:
        _check_type(node)
    elif kind in ("SHOW_REF", "SHOW"):
        raise Forbidden("use the DESCRIBE and SAMPLE actions; QUERY takes a SELECT")
    elif isinstance(kind, str) and kind in SOURCES:
        _check_source(node)
    elif isinstance(kind, str) and kind not in NODES and kind not in DETAILS and not kind.endswith("_TYPE_INFO"):
        raise Forbidden(f"{kind} is not allowed")
    return "sample" in node or "sample_size" in node


def _check_expression(node: dict[str, Any], schemas: frozenset[str]) -> bool:
    kind = str(node["class"])
    if kind not in EXPRESSIONS:
        raise Forbidden(f"{kind.lower()} expressions are not allowed")
    if kind == "CAST":
        _check_type(node["cast_type"])
    if kind == "COLUMN_REF":
        return len(node["column_names"]) == 1 and str(node["column_names"][0]).lower() in BARE
    if kind not in ("FUNCTION", "WINDOW"):
        return False
    if node.get("export_state"):
        raise Forbidden("EXPORT_STATE is not allowed")
    name = str(node.get("function_name", "")).lower()
    if name not in FUNCTIONS and name not in TABLE_FUNCTIONS:
        raise Forbidden(f"the function {name} is not allowed")
    if node.get("catalog") or node.get("schema", "main") not in ("", "main"):
        _check_method(node, name, schemas)
    if name in SHAPED:
        _check_shape(node["children"][1:] if "children" in node else (), name)
    if name in BOUNDED and node.get("schema"):
        raise Forbidden(f"the function {name} must be written without a schema")
    return name in VOLATILE and not (name == "age" and len(node.get("children", ())) > 1)  # else it counts from now


def _check_method(node: dict[str, Any], name: str, schemas: frozenset[str]) -> None:
    """column.upper() looks like a function in a schema; the node becomes upper(column), which is what it means."""
    parts = {str(node[part]).lower() for part in ("catalog", "schema") if node.get(part)}
    if node["class"] != "FUNCTION" or not parts.isdisjoint(schemas):
        raise Forbidden(f"the function {name} must be written without a schema")
    spell_out_method(node)


def _check_shape(arguments: Sequence[dict[str, Any]], name: str) -> None:
    """A shape must stand in the statement, where its size can be seen."""
    for node in walk(list(arguments)):
        kind, function = node.get("class"), str(node.get("function_name", "")).lower()
        text = str(node["value"].get("value", "")) if kind == "CONSTANT" else ""
        if kind not in (None, "CONSTANT", "CAST") and not (kind == "FUNCTION" and function in _SHAPE):
            raise Forbidden(f"write the second argument of {name} as a constant")
        if text.count("[") + text.count("{") > SHAPE_BRACKETS:
            raise Forbidden(f"the second argument of {name} has more than {SHAPE_BRACKETS} brackets")


def _check_type(node: dict[str, Any]) -> None:
    name = str(node.get("type_info", {}).get("name", "")).upper() if isinstance(node.get("type_info"), dict) else ""
    if node.get("id") in UNSAFE_TYPES or name in UNSAFE_TYPES:
        raise Forbidden("this type is not allowed")


def _check_source(node: dict[str, Any]) -> None:
    if node["type"] == "BASE_TABLE":
        catalog, schema = node.get("catalog_name") or DATABASE, node.get("schema_name") or "main"
        if catalog != DATABASE or schema not in ("main", DATABASE):
            raise Forbidden("only the tables of this database can be read")
        if "at_clause" in node:
            raise Forbidden("AT is not allowed")
    if node["type"] == "TABLE_FUNCTION":
        function = node["function"]
        name = str(function.get("function_name", "")).lower()
        if function.get("class") != "FUNCTION" or name not in TABLE_FUNCTIONS or function.get("schema"):
            raise Forbidden(f"the table function {name} is not allowed")
