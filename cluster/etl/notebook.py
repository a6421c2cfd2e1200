"""The SQL of an exported Databricks notebook or SQL file, cell by cell; what is no SQL is refused, not left out.

Invariant: every cell that could write rows is in the result, in order, or the notebook is refused with its number.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.contracts.errors import BadInput
from services.contracts.record import Record

HEADER = "Databricks notebook source"
_SEPARATOR = re.compile(r"(?m)^(?:--|#) COMMAND -{10}[ \t]*$")
_LINE = re.compile(r"^(?:--|#) ?(?:MAGIC ?|DBTITLE .*$)")
_MAGIC = re.compile(r"%(\w[\w-]*)[ \t]*")
_SILENT = frozenset({"md", "md-sandbox"})
_WIDGET = re.compile(r"\$\{\s*(?:[\w.]+:)?(\w+)\s*\}|\{\{\s*(\w+)\s*\}\}|getArgument\(\s*['\"](\w+)['\"]\s*\)")
_NAMED = re.compile(r"(?<![:\w'])(:)([A-Za-z_]\w*)\b(?!\s*\()")
_TEXT = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)


class NotebookSql(Record):
    """The texts of the cells with SQL, and what was left out or filled in, one line each."""

    texts: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class _Cell:
    number: int
    language: str
    text: str


def read_notebook(source: str, parameters: Mapping[str, str]) -> NotebookSql:
    """The SQL of a notebook's exported source, or of a plain SQL file. Raises BadInput with the cell's number."""
    texts: list[str] = []
    changes: list[str] = []
    for cell in _cells(source):
        sql, said = _sql_of(cell)
        changes += said
        for text in sql:
            filled, filling = fill(text, parameters)
            texts.append(filled)
            changes += filling
    if not texts:
        raise BadInput("the notebook has no SQL cell")
    return NotebookSql(texts=tuple(texts), changes=tuple(dict.fromkeys(changes)))


def _cells(source: str) -> Iterator[_Cell]:
    first, _, rest = source.lstrip("\ufeff").partition("\n")
    if first.rstrip().removeprefix("--").removeprefix("#").strip() != HEADER:
        yield _Cell(1, "sql", source)
        return
    language = "sql" if first.startswith("--") else "python"
    for number, text in enumerate(_SEPARATOR.split(rest), 1):
        yield _cell(number, language, text)


def _cell(number: int, language: str, text: str) -> _Cell:
    """A cell whose lines are all magic has its own language, by its first word; SQL's if it has none."""
    lines = text.strip("\n").splitlines()
    magic = [line for line in lines if _LINE.match(line)]
    if not any("MAGIC" in line.split(" ")[:2] for line in magic):
        return _Cell(number, language, "\n".join(line for line in lines if line not in magic).strip())
    if len(magic) != sum(1 for line in lines if line.strip()):
        raise BadInput(f"cell {number}: it mixes lines with MAGIC and lines without")
    bare = "\n".join(_LINE.sub("", line) for line in magic).strip()
    named = _MAGIC.match(bare)
    if named is None:
        raise BadInput(f"cell {number}: it is a cell of another language that does not say which: expected %sql or %md")
    return _Cell(number, named[1].lower(), bare[named.end() :].strip())


def _sql_of(cell: _Cell) -> tuple[list[str], list[str]]:
    """The SQL of a cell, and what is left out. Raises BadInput for a cell that does more than SQL."""
    if not cell.text or cell.language in _SILENT:
        return [], []
    if cell.language == "sql":
        return [cell.text], []
    if cell.language == "python":
        return _python(cell)
    raise BadInput(f"cell {cell.number}: %{cell.language} is not run here: only SQL cells are")


def _python(cell: _Cell) -> tuple[list[str], list[str]]:
    """The texts of `spark.sql("…")` with nothing after it. Imports and widgets are left out, all else is refused."""
    try:
        body = ast.parse(cell.text).body
    except SyntaxError as error:
        raise BadInput(f"cell {cell.number}: its Python cannot be read: {error.msg}") from error
    texts: list[str] = []
    changes: list[str] = []
    for statement in body:
        sql = _spark_sql(statement)
        if sql is not None:
            texts.append(sql)
            changes.append(f"cell {cell.number}: spark.sql(…) is its text")
        elif _is_idle(statement):
            changes.append(f"cell {cell.number}: {ast.unparse(statement).splitlines()[0][:80]} is left out")
        else:
            said = ast.unparse(statement).splitlines()[0][:80]
            raise BadInput(f"cell {cell.number}: Python is not run here, and {said!r} may write rows: write it in SQL")
    return texts, changes


def _spark_sql(statement: ast.stmt) -> str | None:
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "spark.sql" or call.keywords or len(call.args) != 1:
        return None
    text = call.args[0]
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else None


def _is_idle(statement: ast.stmt) -> bool:
    """Imports, bare texts and `dbutils.widgets.…` change no rows."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).startswith("dbutils.widgets.")
    return isinstance(value, ast.Constant)


def fill(sql: str, parameters: Mapping[str, str]) -> tuple[str, list[str]]:
    """The SQL with its parameters' values: `:name` as a text, `${name}` as it is. Raises BadInput for one without."""
    changes: list[str] = []

    def value(name: str) -> str:
        if name not in parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise BadInput(f"the parameter {name} has no value; there are: {known}")
        changes.append(f"the parameter {name} is {parameters[name]!r}")
        return parameters[name]

    def widget(found: re.Match[str]) -> str:
        return value(next(name for name in found.groups() if name))

    def named(found: re.Match[str]) -> str:
        return "'" + value(found[2]).replace("\\", "\\\\").replace("'", "\\'") + "'"

    sql = _WIDGET.sub(widget, sql)
    pieces, end = [], 0
    for text in _TEXT.finditer(sql):
        pieces += [_NAMED.sub(named, sql[end : text.start()]), text[0]]
        end = text.end()
    pieces.append(_NAMED.sub(named, sql[end:]))
    return "".join(pieces), changes
