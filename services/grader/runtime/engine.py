"""The engine of a measured run: one thread, read-only sources, a database of the run's own, and the doors locked.

What it reads back afterwards is read through a connection on which nothing that the statements made has a name.
Standard library and duckdb only.
"""

import glob
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import duckdb

OWN = "run"
RESULT = "result"
ABOUT_THE_TEXT = frozenset({"alias", "query_location"})
COUNTED_OFF = frozenset({"table_index", "aggregate_index", "group_index", "groupings_index"})
"""Numbers that the engine gives to parts of a plan in the order in which it meets them, unused ones included."""
FIGURES = {
    "rows_scanned": ("operator_rows_scanned", True),
    "rows_made": ("operator_cardinality", True),
    "bytes_made": ("result_set_size", True),
    "bytes_read": ("total_bytes_read", False),
    "bytes_written": ("total_bytes_written", False),
}
"""What is counted, its name in the engine's profile, and whether each operator has it or the statement as a whole."""

Order = dict[str, Any]


class Engine:
    """The run's database and the statements that run on it."""

    def __init__(self, order: Order) -> None:
        """Attach the sources and lock every door. Raises duckdb.Error."""
        self._connection = duckdb.connect(f"{OWN}.duckdb", config=_config(order))
        self._attach(order["sources"])
        for sql in order["prepare"]:
            self._connection.execute(sql)
        if order["profile"]:
            self._connection.execute("SET enable_profiling = 'no_output'")
            self._connection.execute("SET profiling_coverage = 'ALL'")
        self._lock(order)

    def _attach(self, sources: Sequence[Order]) -> None:
        names = [OWN]
        for source in sources:
            if source["kind"] == "database":
                self._connection.execute(f"ATTACH {text(source['paths'][0])} AS {quoted(source['name'])} (READ_ONLY)")
                names.append(source["name"])
            else:
                files = ", ".join(map(text, source["paths"]))
                hive = str(source["hive_partitioning"]).lower()
                read = f"read_parquet([{files}], hive_partitioning = {hive})"
                self._connection.execute(f"CREATE VIEW {quoted(source['name'])} AS FROM {read}")
        self._connection.execute(f"SET search_path = {text(','.join(names))}")

    def _lock(self, order: Order) -> None:
        parquet = [path for source in order["sources"] if source["kind"] == "parquet" for path in source["paths"]]
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(f"SET allowed_directories = [{text(order['folder'])}]")
        self._connection.execute(f"SET allowed_paths = [{', '.join(map(text, parquet))}]")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def run(self, statements: Sequence[str], query: bool, profile: bool) -> list[dict[str, object]]:
        """Run the statements in order; if the last one is a `query`, write its whole result. Raises duckdb.Error.

        With `profile`, what each of them did, beside its plan.
        """
        texts = list(statements)
        if query:
            texts[-1] = f"CREATE TABLE {OWN}.main.{RESULT} AS (\n{_without_semicolons(texts[-1])}\n)"
        if profile:
            return [{"plan": self._plan(sql), **self._execute(sql, True)} for sql in texts]
        for sql in texts:
            self._execute(sql, False)
        return []

    def _execute(self, sql: str, profile: bool) -> Counter[str]:
        """Run a text, which may hold several statements; with `profile`, what they did together."""
        done = Counter(dict.fromkeys(FIGURES, 0))
        for statement in self._connection.extract_statements(sql):
            try:
                self._connection.execute(statement)
            except duckdb.OutOfMemoryException as error:
                raise MemoryError(str(error)) from error
            if profile:
                done.update(self._profile())
        return done

    def _plan(self, sql: str) -> str | None:
        """A digest of the optimised plan with its expressions; None if the engine cannot write it down."""
        ask = f"SELECT system.main.json_serialize_plan({text(sql)}, optimize := true)"
        try:
            found = self._connection.execute(ask).fetchone()
        except duckdb.Error:
            return None
        plan = json.loads(found[0]) if found else {"error": True}
        if plan["error"]:
            return None
        return hashlib.sha256(json.dumps(_essence(plan["plans"], {}), sort_keys=True).encode()).hexdigest()

    def _profile(self) -> dict[str, int]:
        """The figures of the last statement; none of those that the engine does not profile, such as BEGIN."""
        said = self._connection.get_profiling_information(format="json")
        whole = json.loads(said) if said else {}
        parts = [whole, *_operators(whole.get("children", []))]
        return {
            name: sum(part.get(key, 0) for part in (parts[1:] if per_operator else parts[:1]))
            for name, (key, per_operator) in FIGURES.items()
        }

    def ask(self, sql: str) -> tuple[list[tuple[Any, ...]], int]:
        """All rows of a statement, and the bytes that it read from files. Raises duckdb.Error."""
        rows = self._connection.execute(sql).fetchall()
        return rows, self._profile()["bytes_read"]

    def outputs(self, order: Order) -> list[dict[str, object]]:
        """Rows and checksums of each output, from what has been committed. Raises duckdb.Error."""
        reader = self._connection.cursor()
        catalog = f"reader_{secrets.token_hex(8)}"
        reader.execute(f"ATTACH ':memory:' AS {catalog}")
        reader.execute(f"USE {catalog}")
        tables = [RESULT] if order["query"] else order["tables"]
        found = [_table(reader, name, order["unstable"]) for name in tables]
        return found + [_folder(reader, order["folder"], name, order["unstable"]) for name in order["folders"]]

    def settle(self) -> None:
        """Bring what was committed into the one file, and let go of it. Raises duckdb.Error."""
        self._connection.execute(f"CHECKPOINT {OWN}")
        self._connection.close()

    def reason(self, error: duckdb.Error) -> str:
        """Which kind of end an error of the engine is."""
        if isinstance(error, duckdb.InternalException | duckdb.FatalException):
            return "crash"
        return "disk" if "No space left" in str(error) else "sql_error"


def _config(order: Order) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": 1,
        "memory_limit": f"{order['memory_mb']}MB",
        "temp_directory": f"{order['folder']}/spill",
        "max_temp_directory_size": f"{order['spill_mb']}MB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
    }


def _essence(node: Any, numbers: dict[int, int]) -> Any:
    """A plan without what it says about its text, its parts numbered as they come."""
    if isinstance(node, list):
        return [_essence(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key not in ABOUT_THE_TEXT}
    if "table" in kept:
        kept.pop("sql", None)  # the text of a CREATE TABLE, beside its parts
    return {
        key: numbers.setdefault(value, len(numbers)) if key in COUNTED_OFF else _essence(value, numbers)
        for key, value in kept.items()
    }


def _operators(children: Sequence[Order]) -> list[Order]:
    return [found for child in children for found in (child, *_operators(child["children"]))]


def _table(reader: duckdb.DuckDBPyConnection, name: str, unstable: Sequence[str]) -> dict[str, object]:
    """An output has to be a base table, all of whose columns are stored: a view would be worked out after the clock."""
    found = reader.execute(
        f"SELECT sql FROM duckdb_tables() WHERE database_name = '{OWN}' AND schema_name = 'main' "
        f"AND lower(table_name) = lower({text(name)})"
    ).fetchone()
    if found is None:
        return {"name": name, "lacks": "it is not a base table that was committed"}
    if "GENERATED ALWAYS" in found[0].upper():
        return {"name": name, "lacks": "it has a generated column"}
    return _sums(reader, name, f"{OWN}.main.{quoted(name)}", unstable)


def _folder(reader: duckdb.DuckDBPyConnection, parent: str, name: str, unstable: Sequence[str]) -> dict[str, object]:
    files = f"{parent}/{name}/**/*.parquet"
    if not glob.glob(files, recursive=True):
        return {"name": name, "lacks": "no Parquet file was written into it"}
    return _sums(reader, name, f"read_parquet({text(files)}, hive_partitioning = true)", unstable)


def _sums(reader: duckdb.DuckDBPyConnection, name: str, relation: str, unstable: Sequence[str]) -> dict[str, object]:
    """Sums over all rows in any order; they can show a difference, never prove that there is none."""
    left_out = {column.lower() for column in unstable}
    kinds = [(row[0], row[1]) for row in reader.execute(f"DESCRIBE FROM {relation}").fetchall()]
    kept = [(column, kind) for column, kind in kinds if column.lower() not in left_out]
    exact = [column for column, kind in kept if not any(inexact in kind for inexact in ("FLOAT", "DOUBLE"))]
    sums = ", ".join(_sum(columns) for columns in (exact, [column for column, _ in kept]))
    row = reader.execute(f"SELECT count(*), {sums} FROM {relation} AS it").fetchone()
    if row is None:
        raise duckdb.InternalException("an aggregate gave no row")
    types = [f"{column.lower()} {kind}" for column, kind in kinds]
    return {"name": name, "rows": row[0], "exact": str(row[1]), "whole": str(row[2]), "columns": types}


def _sum(columns: Sequence[str]) -> str:
    row = ", ".join(f"it.{quoted(column)}" for column in columns)
    return f"sum(hash(row({row}))::HUGEINT)::VARCHAR" if columns else "'0'"


def _without_semicolons(sql: str) -> str:
    """The text with a blank for each semicolon that ends a statement: two statements are then one syntax error."""
    found = bytearray(sql.encode())
    for at, _ in duckdb.tokenize(sql):
        if found[at] == ord(";"):
            found[at] = ord(" ")
    return found.decode()


def text(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
