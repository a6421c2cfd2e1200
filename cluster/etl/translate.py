"""Databricks SQL as DuckDB has it: sqlglot's translation, mended where it would give other values, every change listed.

Invariant: what has no counterpart, or one that gives other values, is refused and never guessed.
"""

from collections.abc import Iterator, Sequence

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError, UnsupportedError

from cluster.etl.mending import MENDS, refusal_of
from cluster.etl.writing import OutputTable, steps_of
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.etl.increment import reads_of, write_of

SHOWN_CHARACTERS = 120
_UPKEEP = ("OPTIMIZE", "VACUUM", "ANALYZE", "CACHE", "UNCACHE", "REFRESH", "CLEAR", "MSCK", "COMMENT", "GRANT")
_SETTINGS = (
    "spark.sql.shuffle.", "spark.sql.adaptive.", "spark.sql.files.", "spark.sql.autobroadcastjointhreshold",
    "spark.sql.broadcasttimeout", "spark.databricks.delta.optimizewrite", "spark.databricks.delta.autocompact",
    "spark.databricks.delta.schema.automerge", "spark.default.parallelism", "partitionoverwritemode",
)  # fmt: skip
_DECLARED = (
    exp.FileFormatProperty, exp.PartitionedByProperty, exp.SchemaCommentProperty, exp.LocationProperty, exp.Property,
    exp.ClusteredByProperty, exp.Cluster,
)  # fmt: skip
_PARTS = (exp.Func, exp.Cast, exp.Bracket, exp.Ordered, exp.Lateral, exp.IntDiv, exp.JSONExtract, exp.Binary)


class Translation(Record):
    """Statements in DuckDB's SQL and what was changed on the way, one line each."""

    statements: tuple[str, ...]
    changes: tuple[str, ...]


def upkeep_of(tree: exp.Expr) -> str | None:
    """A statement that changes no rows, in one line; None for others."""
    said = " ".join(tree.sql(dialect="databricks").split())[:SHOWN_CHARACTERS]
    if isinstance(tree, exp.Set):
        return said if any(name in said.lower() for name in _SETTINGS) else None
    return said if said.upper().startswith(_UPKEEP) else None


def is_dynamic(tree: exp.Expr) -> bool:
    """Whether a statement lets INSERT OVERWRITE replace only the partitions that it writes."""
    said = tree.sql(dialect="databricks").lower() if isinstance(tree, exp.Set) else ""
    return "partitionoverwritemode" in said and "dynamic" in said


def translate(trees: Sequence[exp.Expr], output: OutputTable) -> Translation:
    """The statements as DuckDB has them. Raises BadInput."""
    statements: list[str] = []
    changes: list[str] = []
    output = output.model_copy(update={"read_by": _read_by(trees, output.name)})
    for place, tree in enumerate(trees, 1):
        if is_dynamic(tree):
            output = output.model_copy(update={"dynamic": True})
        said = upkeep_of(tree)
        if said is not None:
            changes.append(f"{said} is left out: it changes no rows")
            continue
        made, changed = _statement(tree.copy(), place)
        changes += changed
        for step in steps_of(made, output):
            statements.append(_written(step.tree, place))
            changes += [step.change] if step.change else []
    return Translation(statements=tuple(statements), changes=tuple(dict.fromkeys(changes)))


def _read_by(trees: Sequence[exp.Expr], output: str) -> frozenset[str]:
    """The output and the views that read it, at whatever remove."""
    found = {output}
    for tree in trees:
        write = write_of(tree)
        if write is not None and write.deed == "temporary" and found.intersection(reads_of([tree])):
            found.add(write.table)
    return frozenset(found)


def _statement(tree: exp.Expr, place: int) -> tuple[exp.Expr, list[str]]:
    """One statement with its hints and declarations gone and its values mended, and the changes."""
    reason = refusal_of(tree)
    if reason is not None:
        raise BadInput(f"statement {place} cannot be had on DuckDB: {reason}")
    changes = list(_without_hints(tree)) + list(_without_declarations(tree))
    for mend in MENDS:
        changes += mend(tree)
    changes += list(_differences(tree))
    return tree, changes


def _without_hints(tree: exp.Expr) -> Iterator[str]:
    for hint in list(tree.find_all(exp.Hint)):
        yield f"the hint {hint.sql(dialect='databricks')} is left out"
        hint.pop()
    for select in tree.find_all(exp.Select):
        for clause in ("sort", "distribute", "cluster"):
            found = select.args.get(clause)
            if found is not None:
                yield f"{' '.join(found.sql(dialect='databricks').split())} is left out: it orders no result"
                select.set(clause, None)


def _without_declarations(tree: exp.Expr) -> Iterator[str]:
    """Where and how a table is stored is no part of its rows."""
    properties = tree.args.get("properties") if isinstance(tree, exp.Create) else None
    for declared in list(properties.expressions) if properties is not None else ():
        if isinstance(declared, _DECLARED) and not isinstance(declared, exp.TemporaryProperty):
            yield f"{declared.sql(dialect='databricks')} is left out of CREATE {tree.args['kind']}"
            declared.pop()


def _differences(tree: exp.Expr) -> Iterator[str]:
    """What sqlglot writes in other words, each with its parts left as they were."""
    for node in tree.find_all(*_PARTS):
        shell = node.copy()
        for part in list(shell.find_all(*_PARTS)):
            if part is not shell and part.find_ancestor(*_PARTS) is shell:
                part.replace(exp.column("…"))
        ours, theirs = shell.sql(dialect="databricks"), shell.sql(dialect="duckdb")
        if ours.replace("`", '"') != theirs:
            yield f"{ours[:SHOWN_CHARACTERS]} is written {theirs[:SHOWN_CHARACTERS]}".replace("`…`", "…").replace(
                '"…"', "…"
            )


def _written(tree: exp.Expr | str, place: int) -> str:
    if isinstance(tree, str):
        return tree
    try:
        return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE)
    except (UnsupportedError, SqlglotError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"statement {place} has no counterpart on DuckDB: {said}") from error
