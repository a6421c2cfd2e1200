"""One database, opened so that SQL can read it and do nothing else, and the results that come out of it.

Lockdown in order: safe settings at connect, the database attached read-only, then the file system taken away and the
configuration locked. Runs in the sandbox child. Standard library and duckdb only.
"""

import datetime
import decimal
import json
import math
import uuid
from typing import Any

import duckdb

from services.sandbox.guard import DATABASE, Guard, Rejection, first_line

FETCH_ROWS = 1_000
MAX_NESTING = 100
_AS_TEXT = ("TIME", "INTERVAL", "BIT", "ENUM", "UNION", "MAP", "GEOMETRY", "VARIANT", "BIGNUM", "NULL", "STRUCT", '"')

_AS_IT_IS = frozenset({type(None), bool, int, str})

Message = dict[str, Any]


def connect(memory_mb: int) -> duckdb.DuckDBPyConnection:
    """An in-memory instance with every door shut that can be shut before a database is attached.

    It has one thread, so that a process that holds it may fork.
    """
    return duckdb.connect(
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
        if database is not None:
            path = database.replace("'", "''")
            self._connection.execute(f"ATTACH '{path}' AS {DATABASE} (READ_ONLY)")
            self._connection.execute(f"USE {DATABASE}")
            schema = schema_of(self._connection)
        lock(self._connection)
        self.guard = Guard(parser, schema)

    def interrupt(self) -> None:
        """Stop the running statement; safe from another thread."""
        self._connection.interrupt()

    def run(self, sql: str, max_rows: int, max_bytes: int) -> Message:
        """Guard and execute one statement. Raises MemoryError, and nothing else for anything that SQL can do."""
        facts = self.guard.inspect(sql)
        if isinstance(facts, Rejection):
            return rejection_message(facts)
        try:
            columns, types, rows, more = self._execute(sql, max_rows)
            encoded, cut = _fit(rows, max_bytes)
        except duckdb.InterruptException:
            return {"kind": "limit", "reason": "timeout", "message": "the statement ran out of time"}
        except duckdb.OutOfMemoryException as error:
            raise MemoryError from error
        except (duckdb.InternalException, duckdb.FatalException):
            return {"kind": "limit", "reason": "crash", "message": "the statement broke the engine"}
        except duckdb.Error as error:
            return {"kind": "sql_error", "message": first_line(str(error))}
        except (ValueError, OverflowError, ImportError, UnicodeError) as error:
            return {"kind": "sql_error", "message": f"a value cannot be shown: {first_line(str(error))}"}
        if encoded is None or len(json.dumps([columns, types])) > max_bytes:
            return {"kind": "limit", "reason": "result_size", "message": "one row of the result is too large"}
        table = {"kind": "rows", "columns": columns, "types": types, "truncated": more or cut, "facts": facts}
        return {**table, "rows": encoded}

    def _execute(self, sql: str, max_rows: int) -> tuple[list[str], list[str], list[tuple[Any, ...]], bool]:
        cursor = self._connection.execute(sql)
        names, types = _head(cursor)
        if any(_shown_as_text(kind) for kind in types):
            cursor = self._connection.execute(_as_text(sql, types))
        rows: list[tuple[Any, ...]] = []
        while len(rows) <= max_rows:
            chunk = cursor.fetchmany(FETCH_ROWS)
            if not chunk:
                break
            rows.extend(chunk)
        return names, types, rows[:max_rows], len(rows) > max_rows


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
    return {table: frozenset(columns) for table, columns in rows}


def _head(cursor: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    description = cursor.description or []
    return [str(column[0]) for column in description], [str(column[1]) for column in description]


def _shown_as_text(kind: str) -> bool:
    return any(part in kind for part in _AS_TEXT) and kind not in ("TIMESTAMP", "DATE")


def _as_text(sql: str, types: list[str]) -> str:
    """The statement with those columns cast to text that Python has no exact value for."""
    picks = [
        f"CAST(#{i} AS VARCHAR) AS c{i}" if _shown_as_text(kind) else f"#{i} AS c{i}" for i, kind in enumerate(types, 1)
    ]
    return f"SELECT {', '.join(picks)} FROM (\n{_without_semicolons(sql)}\n) AS shown"


def _without_semicolons(sql: str) -> str:
    """The one statement of the text, without the semicolons around it; those in strings and comments stay."""
    text = bytearray(sql.encode())
    for at, _ in duckdb.tokenize(sql):
        if text[at] == ord(";"):
            text[at] = ord(" ")
    return text.decode()


def _fit(rows: list[tuple[Any, ...]], max_bytes: int) -> tuple[list[Any] | None, bool]:
    """As many rows, from the first on, as fit into the byte cap; None if not even one does."""
    encoded = [[encode(cell) for cell in row] for row in rows]
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
            return {"timestamp": str(cell)}
        case datetime.date():
            return {"date": str(cell)}
        case uuid.UUID():
            return {"uuid": str(cell)}
        case bytes():
            return {"blob": cell.hex()}
        case list() | tuple():
            return [encode(item, depth + 1) for item in cell]
        case _:
            return str(cell)
