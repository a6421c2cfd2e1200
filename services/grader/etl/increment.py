"""What a job does to its output, by syntax tree, and within which partitions its output is compared.

Invariant: the scope is production's own, from what it changed; nothing that a rewrite wrote enters it.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from services.contracts.errors import BadInput
from services.contracts.etl import Dialect, EtlJob, Mode
from services.contracts.record import Record

Deed = Literal["create", "insert", "overwrite", "merge", "delete", "update", "define", "temporary"]


class Write(Record):
    """What one statement does to one table: `define` makes it if it is not there, `temporary` for this session only."""

    table: str
    deed: Deed


class Scope(Record):
    """How an output is compared: as a bag with production's where `inside` holds, unchanged where `outside` does.

    Both are predicates that are true or false for every row, never NULL; without `outside` the whole table is compared.
    """

    inside: str
    outside: str | None


def scope_of(job: EtlJob) -> Scope:
    """The scope of a job's comparison. Where production's increment has no bounds, the whole table is compared."""
    if not job.touched:
        return Scope(inside="true", outside=None)
    touched = " OR ".join(f"({predicate})" for predicate in job.touched)
    return Scope(inside=f"({touched}) IS TRUE", outside=f"({touched}) IS NOT TRUE")


def parse(sql: str, dialect: Dialect) -> tuple[exp.Expr, ...]:
    """The statements of a text. Raises BadInput with the place where it cannot be read."""
    try:
        with _quiet():
            trees = sqlglot.parse(sql, read=dialect)
    except (SqlglotError, RecursionError) as error:
        raise BadInput(f"the SQL cannot be read as {dialect}: {' '.join(str(error).split())[:300]}") from error
    return tuple(tree for tree in trees if tree is not None and not isinstance(tree, exp.Semicolon))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without sqlglot's warnings of statements that it does not take apart: those are refused by what they are."""
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def name_of(table: exp.Table) -> str:
    """The dotted name in lower case."""
    return ".".join(part.name for part in table.parts).lower()


def write_of(tree: exp.Expr) -> Write | None:
    """What a statement writes; None if it writes no table."""
    target = target_of(tree)
    return Write(table=name_of(target), deed=_deed(tree)) if target is not None else None


def target_of(tree: exp.Expr) -> exp.Table | None:
    """The table that a statement writes, as its tree has it."""
    if not isinstance(tree, exp.Create | exp.Insert | exp.Merge | exp.Delete | exp.Update | exp.TruncateTable):
        return None
    if isinstance(tree, exp.Create) and tree.kind not in ("TABLE", "VIEW"):
        return None
    found = tree.expressions[0] if isinstance(tree, exp.TruncateTable) else tree.this
    found = found.this if isinstance(found, exp.Schema) else found
    return found if isinstance(found, exp.Table) else None


def _deed(tree: exp.Expr) -> Deed:
    match tree:
        case exp.Create():
            if tree.kind == "VIEW" or tree.find(exp.TemporaryProperty):
                return "temporary"
            return "define" if tree.args.get("exists") and tree.expression is None else "create"
        case exp.Insert():
            return "overwrite" if tree.args.get("overwrite") or tree.args.get("where") else "insert"
        case exp.Merge():
            return "merge"
        case exp.Update():
            return "update"
    return "delete"


def mode_of(trees: Sequence[exp.Expr], output: str) -> Mode:
    """What the statements do to the output, taken together. Raises BadInput if they do nothing to it."""
    deeds = {write.deed for write in map(write_of, trees) if write is not None and write.table == output}
    if "create" in deeds:
        return "create"
    if deeds & {"merge", "update"}:
        return "merge"
    if "overwrite" in deeds or {"delete", "insert"} <= deeds:
        return "overwrite"
    if "insert" in deeds:
        return "insert"
    if "delete" in deeds:
        return "merge"
    raise BadInput(f"no statement writes {output}; they write {', '.join(outputs_of(trees)) or 'no table'}")


def outputs_of(trees: Sequence[exp.Expr]) -> tuple[str, ...]:
    """The tables that outlast the statements' session, in the order in which they are first written."""
    written = [write for write in map(write_of, trees) if write is not None]
    temporary = {write.table for write in written if write.deed == "temporary"}
    return tuple(dict.fromkeys(write.table for write in written if write.table not in temporary))


def reads_of(trees: Sequence[exp.Expr]) -> tuple[str, ...]:
    """The tables that the statements read and do not make themselves, sorted; CTEs and temporary tables are none."""
    made: set[str] = set()
    read: set[str] = set()
    for tree in trees:
        write = write_of(tree)
        read |= {name for name in _reads(tree) if name not in made}
        if write is not None and write.deed in ("create", "temporary"):
            made.add(write.table)
    return tuple(sorted(read))


def _reads(tree: exp.Expr) -> Iterator[str]:
    target = target_of(tree)
    for table in tree.find_all(exp.Table):
        if table is not target and table.name and not is_cte(table) and table.find_ancestor(exp.Hint) is None:
            yield name_of(table)


def is_cte(table: exp.Table) -> bool:
    """Whether the name is that of a CTE which can be seen from there, and no table's."""
    if len(table.parts) > 1:
        return False
    node: exp.Expr | None = table
    inside: exp.Expr = table
    while node is not None:
        ctes = node.args.get("with_")
        if ctes is not None and table.name.lower() in _visible(ctes, inside):
            return True
        inside = node if not isinstance(node, exp.With) else inside
        node = node.parent
    return False


def _visible(ctes: exp.With, inside: exp.Expr) -> set[str]:
    """The CTEs of a WITH that a part of its statement sees: those before it, or all if it is no CTE itself."""
    names = [cte.alias.lower() for cte in ctes.expressions]
    for place, cte in enumerate(ctes.expressions):
        if cte is inside:
            return set(names[: place + 1] if ctes.recursive else names[:place])
    return set(names)
