"""One database, opened so that SQL can read it and do nothing else, and the results that come out of it.

Lockdown in order: safe settings at connect, the database attached read-only, then the file system taken away and the
configuration locked. Runs in the sandbox child. Standard library and duckdb only.
"""

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Iterator
from typing import Any

import duckdb

from services.sandbox import columns, pivot
from services.sandbox.guard import DATABASE, SCHEMAS, Guard, Rejection, first_line

FETCH_ROWS = 1_000
MAX_NESTING = 100
MAX_BRACKETS = 5_000
"""Of JSON text for the functions that recurse into it: some 15,000 levels use up the stack of a process."""
_AS_IT_IS = frozenset({type(None), bool, int, str})
_BOUNDED_MACROS = (
    "json_structure(a) AS system.main.json_structure({a})",
    "json_contains(a, b) AS system.main.json_contains({a}, {b})",
    "json_merge_patch(a, b) AS system.main.json_merge_patch({a}, {b}), "
    "(a, b, c) AS system.main.json_merge_patch({a}, {b}, {c}), "
    "(a, b, c, d) AS system.main.json_merge_patch({a}, {b}, {c}, {d})",
)
"""Stand before the engine's functions of the same name; {a} is the argument, or an error if it is nested too deeply."""
FIGURES = {
    "rows_scanned": "operator_rows_scanned",
    "rows_made": "operator_cardinality",
    "bytes_made": "result_set_size",
}
"""What a profile counts, and its name in the engine's own."""

Message = dict[str, Any]
Executed = tuple[list[str], list[str], list[list[object]], bool]
"""Names, types, encoded rows, and whether there were more."""


def connect(memory_mb: int) -> duckdb.DuckDBPyConnection:
    """An in-memory instance with every door shut that can be shut before a database is attached.

    It has one thread, so that a process that holds it may fork.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": "1",
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "allow_persistent_secrets": "false",
            "python_enable_replacements": "false",
            "python_scan_all_frames": "false",
            "max_expression_depth": "250",
        },
    )
    bounded = {name: _bounded(name) for name in "abcd"}
    for macro in _BOUNDED_MACROS:
        connection.execute(f"CREATE TEMP MACRO {macro.format(**bounded)}")
    return connection


def _bounded(argument: str) -> str:
    text = f"{argument}::VARCHAR"
    return (
        f"CASE WHEN length({text}) - length(translate({text}, '[{{', '')) > {MAX_BRACKETS} "
        f"THEN error('JSON with more than {MAX_BRACKETS} brackets') ELSE {argument} END"
    )


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Take the file system away and forbid every further setting."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
    connection.execute("SET lock_configuration = true")


class Engine:
    """A locked database and its guard: a statement in, a message (the fields of a StatementOutcome) out.

    `blank` is an instance without a database, which becomes the engine's own; `parser` is the guard's.
    """

    def __init__(
        self,
        parser: duckdb.DuckDBPyConnection,
        blank: duckdb.DuckDBPyConnection,
        database: str | None,
        memory_mb: int,
        threads: int = 1,
    ) -> None:
        self._connection = blank
        self._connection.execute(f"SET memory_limit = '{memory_mb}MB'")
        self._connection.execute(f"SET threads = {threads}")
        schema: dict[str, frozenset[str]] = {}
        schemas = SCHEMAS
        self._inexact: frozenset[tuple[str, str]] = frozenset()
        if database is not None:
            path = database.replace("'", "''")
            self._connection.execute(f"ATTACH '{path}' AS {DATABASE} (READ_ONLY)")
            self._connection.execute(f"USE {DATABASE}")
            schema = schema_of(self._connection)
            schemas |= _schemas_of(self._connection)
            self._inexact = _inexact_in(self._connection)
        self._profiled = _profiling(self._connection, database is not None)
        lock(self._connection)
        self.guard = Guard(parser, schema, schemas)

    def interrupt(self) -> None:
        """Stop the running statement; safe from another thread."""
        self._connection.interrupt()
        self._profiled.interrupt()

    def run(self, sql: str, max_rows: int, max_bytes: int) -> Message:
        """Guard and execute one statement. Raises MemoryError, and nothing else for anything that SQL can do."""
        facts = self.guard.inspect(sql)
        if isinstance(facts, Rejection):
            return rejection_message(facts)
        try:
            execute = self._execute_pivot if pivot.mentions_pivot(sql) else self._execute
            names, types, rows, more = execute(sql, max_rows, facts)
            encoded, cut = fit(rows, max_bytes)
        except duckdb.InterruptException:
            return {"kind": "limit", "reason": "timeout", "message": "the statement ran out of time"}
        except duckdb.OutOfMemoryException as error:
            raise MemoryError from error
        except (duckdb.InternalException, duckdb.FatalException):
            return {"kind": "limit", "reason": "crash", "message": "the statement broke the engine"}
        except duckdb.Error as error:
            return {"kind": "sql_error", "message": first_line(pivot.without_engine_names(str(error)))}
        except (ValueError, OverflowError, ImportError, UnicodeError) as error:
            return {"kind": "sql_error", "message": f"a value cannot be shown: {first_line(str(error))}"}
        if encoded is None or len(json.dumps([names, types])) > max_bytes:
            return {"kind": "limit", "reason": "result_size", "message": "one row of the result is too large"}
        table = {"kind": "rows", "columns": names, "types": types, "truncated": more or cut, "facts": facts}
        return {**table, "rows": encoded}

    def profile(self, sql: str) -> Message:
        """Run one statement for the engine's count of what it did. Raises MemoryError, and nothing else for SQL."""
        facts = self.guard.inspect(sql)
        if isinstance(facts, Rejection):
            return rejection_message(facts)
        try:
            self._profiled.execute(f"EXPLAIN ANALYZE {_without_semicolons(sql)}").fetchall()
            plan = json.loads(self._profiled.get_profiling_information(format="json"))
        except duckdb.InterruptException:
            return {"kind": "limit", "reason": "timeout", "message": "the statement ran out of time"}
        except duckdb.OutOfMemoryException as error:
            raise MemoryError from error
        except (duckdb.InternalException, duckdb.FatalException):
            return {"kind": "limit", "reason": "crash", "message": "the statement broke the engine"}
        except duckdb.Error as error:
            return {"kind": "sql_error", "message": first_line(str(error))}
        except RecursionError:
            return {"kind": "limit", "reason": "crash", "message": "the plan is nested too deeply"}
        operators = list(_operators(plan))
        counted = {name: sum(part.get(key, 0) for part in operators) for name, key in FIGURES.items()}
        return {"kind": "profile", "engine": duckdb.__version__, **counted}

    def _execute(self, sql: str, max_rows: int, facts: dict[str, Any]) -> Executed:
        names, types, cursor = self._started(sql, facts)
        rows, more = _rows_of(cursor, max_rows)
        bent = columns.mend(rows, types)
        if bent:
            rows, more = _rows_of(self._started_with_text(sql, types, bent), max_rows)
            columns.mend(rows, types)
        return names, types, rows, more

    def _started(self, sql: str, facts: dict[str, Any]) -> tuple[list[str], list[str], duckdb.DuckDBPyConnection]:
        """Run the statement, once if its looks tell whether a column has to come as text."""
        if columns.may_need_text(sql) or not self._inexact.isdisjoint(facts["columns"]):
            bound = self._connection.sql(sql)
            names, types = list(bound.columns), [str(kind) for kind in bound.types]
            if not all(map(columns.is_exact, types)):
                return names, types, self._started_with_text(sql, types)
        cursor = self._connection.execute(sql)
        names, types = _head(cursor)
        if not all(map(columns.is_exact, types)):
            cursor = self._started_with_text(sql, types)
        return names, types, cursor

    def _started_with_text(
        self, sql: str, types: list[str], more: frozenset[int] | set[int] = frozenset()
    ) -> duckdb.DuckDBPyConnection:
        """Run the statement with those columns cast to text that Python has no exact value for, and some more."""
        texts = {at for at, kind in enumerate(types) if not columns.is_exact(kind)} | more
        picked = columns.picks(types, texts)
        return self._connection.execute(f"SELECT {picked} FROM (\n{_without_semicolons(sql)}\n) AS shown")

    def _execute_pivot(self, sql: str, max_rows: int, facts: dict[str, Any]) -> Executed:
        """Run a statement and undo what the engine may set up for it: a type for each PIVOT column without a list."""
        self._connection.execute("BEGIN")
        try:
            names, types, rows, more = self._execute(sql, max_rows, facts)
            return [pivot.without_engine_names(name) for name in names], types, rows, more
        finally:
            try:
                self._connection.execute("ROLLBACK")
            except duckdb.InterruptException:  # the watchdog's, which came late
                self._connection.execute("ROLLBACK")


def _operators(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operator of the statement itself: below the root, which is all of it, and below EXPLAIN ANALYZE."""
    waiting = [below for explaining in plan["children"] for below in explaining["children"]]
    while waiting:
        operator = waiting.pop()
        yield operator
        waiting.extend(operator["children"])


def _profiling(connection: duckdb.DuckDBPyConnection, attached: bool) -> duckdb.DuckDBPyConnection:
    """Another connection to the same instance, which counts what its statements do and slows no others."""
    profiled = connection.cursor()
    profiled.execute("SET TimeZone = 'UTC'")
    profiled.execute("SET enable_profiling = 'no_output'")
    profiled.execute("SET profiling_coverage = 'ALL'")
    if attached:
        profiled.execute(f"USE {DATABASE}")
    return profiled


def rejection_message(rejection: Rejection) -> Message:
    """The message of a statement that the guard kept from running."""
    if rejection.kind == "sql_error":
        return {"kind": "sql_error", "message": rejection.message}
    return {"kind": "refused", "reason": rejection.reason, "message": rejection.message}


def schema_of(connection: duckdb.DuckDBPyConnection) -> dict[str, frozenset[str]]:
    """Lower-case tables of the attached database, each with its lower-case columns; none without one."""
    rows = connection.execute(
        "SELECT lower(table_name), list(lower(column_name)) FROM duckdb_columns() "
        f"WHERE database_name = '{DATABASE}' AND schema_name = 'main' GROUP BY 1"
    ).fetchall()
    return {table: frozenset(names) for table, names in rows}


def _inexact_in(connection: duckdb.DuckDBPyConnection) -> frozenset[tuple[str, str]]:
    """The lower-case tables and columns that come as text."""
    rows = connection.execute(
        "SELECT lower(table_name), lower(column_name), data_type FROM duckdb_columns() "
        f"WHERE database_name = '{DATABASE}' AND schema_name = 'main'"
    ).fetchall()
    return frozenset((table, column) for table, column, kind in rows if not columns.is_exact(kind))


def _schemas_of(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The lower-case names of all schemas and databases that a name can be qualified with."""
    rows = connection.execute(
        "SELECT schema_name FROM duckdb_schemas() UNION SELECT database_name FROM duckdb_databases()"
    ).fetchall()
    return frozenset(str(name).lower() for (name,) in rows)


def _head(cursor: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    description = cursor.description or []
    return [str(column[0]) for column in description], [str(column[1]) for column in description]


def _rows_of(cursor: duckdb.DuckDBPyConnection, max_rows: int) -> tuple[list[list[object]], bool]:
    """Encoded rows, at most so many, and whether there were more."""
    rows: list[tuple[Any, ...]] = []
    while len(rows) <= max_rows:
        chunk = cursor.fetchmany(FETCH_ROWS)
        if not chunk:
            break
        rows.extend(chunk)
    return [[encode(cell) for cell in row] for row in rows[:max_rows]], len(rows) > max_rows


def _without_semicolons(sql: str) -> str:
    """The one statement of the text, without the semicolons around it; those in strings and comments stay."""
    text = bytearray(sql.encode())
    for at, _ in duckdb.tokenize(sql):
        if text[at] == ord(";"):
            text[at] = ord(" ")
    return text.decode()


def fit(encoded: list[list[object]], max_bytes: int) -> tuple[list[list[object]] | None, bool]:
    """As many rows, from the first on, as fit into the byte cap; None if not even one does."""
    size, cut = len(json.dumps(encoded)), False
    while size > max_bytes and encoded:
        encoded = encoded[: min(len(encoded) - 1, int(len(encoded) * max_bytes / size))]
        size, cut = len(json.dumps(encoded)), True
    return (None if cut and not encoded else encoded), cut


def encode(cell: object, depth: int = 0) -> object:
    """A cell as a JSON value; see services.contracts.statements. Raises ValueError if nested too deeply."""
    if type(cell) in _AS_IT_IS:
        return cell
    if depth > MAX_NESTING:
        raise ValueError("it is nested too deeply")
    match cell:
        case float():
            return cell if math.isfinite(cell) else {"float": str(cell)}
        case decimal.Decimal():
            return {"decimal": str(cell)}
        case datetime.datetime():
            return {"timestamp": _trimmed(str(cell))}
        case datetime.date():
            return {"date": str(cell)}
        case datetime.time():
            return _trimmed(str(cell))
        case uuid.UUID():
            return {"uuid": str(cell)}
        case bytes():
            return {"blob": cell.hex()}
        case list() | tuple():
            return [encode(item, depth + 1) for item in cell]
        case _:
            return str(cell)


def _trimmed(text: str) -> str:
    """A time as the engine writes it: without the zeros that end a fraction of a second."""
    return text.rstrip("0") if "." in text else text
