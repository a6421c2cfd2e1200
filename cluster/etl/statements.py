"""A task's statements as trees with settled names, each beside its text; what is no part of the job is refused."""

from dataclasses import dataclass

import duckdb
from sqlglot import exp

from cluster.etl.naming import settle_names
from cluster.etl.translate import upkeep_of
from services.contracts.errors import BadInput
from services.contracts.etl import Dialect
from services.grader.etl.increment import outputs_of, parse, target_of


@dataclass(frozen=True)
class Statement:
    """One statement: its tree, and its text where that is DuckDB's already."""

    tree: exp.Expr
    text: str | None = None


@dataclass(frozen=True)
class ReadStatements:
    """The statements of a task, and what was changed in their names."""

    statements: tuple[Statement, ...]
    changes: tuple[str, ...]

    @property
    def trees(self) -> tuple[exp.Expr, ...]:
        """The syntax trees."""
        return tuple(statement.tree for statement in self.statements)


def read_statements(texts: tuple[str, ...], dialect: Dialect) -> ReadStatements:
    """Parse the texts, each of which may hold several statements. Raises BadInput."""
    if dialect == "databricks":
        trees = tuple(tree for text in texts for tree in parse(text, "databricks"))
        settled, changes = settle_names(trees)
        return ReadStatements(_some(tuple(Statement(tree) for tree in settled)), changes)
    found = [Statement(tree, text) for text in texts for tree, text in _duckdb(text)]
    settled, changes = settle_names([statement.tree for statement in found])
    if len(settled) != len(found):
        raise BadInput("USE is not followed in DuckDB's SQL: write the schema before each table's name")
    kept = [Statement(tree, s.text if tree == s.tree else None) for tree, s in zip(settled, found, strict=True)]
    return ReadStatements(_some(tuple(kept)), changes)


def _some(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    if not statements:
        raise BadInput("the task has no SQL statement")
    return statements


def _duckdb(text: str) -> list[tuple[exp.Expr, str]]:
    """The statements as DuckDB splits them. Raises BadInput for what neither reads nor writes a table."""
    try:
        pieces = [piece.query.strip().rstrip(";") for piece in duckdb.extract_statements(text)]
    except duckdb.Error as error:
        raise BadInput(f"the SQL cannot be read as duckdb: {' '.join(str(error).split())[:300]}") from error
    found = []
    for piece in pieces:
        trees = parse(piece, "duckdb")
        if len(trees) != 1:
            raise BadInput(f"{piece[:80]!r} is no one statement by itself: write a PIVOT as part of a SELECT")
        tree = trees[0]
        if target_of(tree) is None and not isinstance(tree, exp.Query):
            raise BadInput(f"{piece[:80]!r} neither reads nor writes a table: leave it out of the task")
        found.append((tree, piece))
    return found


def check_output(read: ReadStatements, output: str) -> None:
    """Raises BadInput where the task writes other tables than its output."""
    written = outputs_of([tree for tree in read.trees if upkeep_of(tree) is None])
    others = [name for name in written if name != output]
    if output not in written:
        raise BadInput(f"no statement writes the output {output}; written are: {', '.join(written) or 'no tables'}")
    if others:
        raise BadInput(
            f"the task writes {', '.join(others)} beside its output {output}: make it a temporary table or another task"
        )
