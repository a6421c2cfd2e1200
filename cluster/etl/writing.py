"""How statements that write are spelled on DuckDB: INSERT OVERWRITE in two steps, the stars of a MERGE by name."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.etl.increment import name_of, target_of, write_of


class OutputTable(Record):
    """The output: its columns, those it is partitioned by, and the partitions that production changed as predicates.

    `dynamic` means that INSERT OVERWRITE replaces only the partitions that it writes; `read_by` are the table and
    the views over it.
    """

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    dynamic: bool = False
    read_by: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """A statement, as a tree, and what was changed to come to it."""

    tree: exp.Expr
    change: str = ""


def steps_of(tree: exp.Expr, output: OutputTable) -> Iterator[Step]:
    """The statement, or the two that stand for an INSERT OVERWRITE. Raises BadInput."""
    write = write_of(tree)
    if write is not None and write.table == output.name:
        if isinstance(tree, exp.Merge):
            yield Step(tree, _spell_stars(tree, output))
            return
        if isinstance(tree, exp.Insert):
            yield from _insert(tree, output, write.deed == "overwrite")
            return
    if write is not None and write.deed == "overwrite":
        raise BadInput(f"INSERT OVERWRITE {write.table} is not of the output {output.name}")
    yield Step(tree)


def _insert(tree: exp.Insert, output: OutputTable, overwrite: bool) -> Iterator[Step]:
    target = target_of(tree)
    if target is None:
        raise BadInput("an INSERT names no table")
    fixed = _take_partition(tree, target)
    if overwrite:
        if output.read_by & {name_of(table) for table in tree.expression.find_all(exp.Table)}:
            yield _kept_aside(tree, output)
        where = _replaced(tree, output, fixed)
        delete = exp.Delete(this=target.copy(), where=exp.Where(this=where) if where is not None else None)
        yield Step(delete, f"INSERT OVERWRITE is {delete.sql(dialect='duckdb')} and INSERT")
        tree.set("overwrite", None)
        tree.set("where", None)
    if fixed:
        _insert_fixed(tree, target, fixed, output)
        yield Step(tree, f"PARTITION ({', '.join(fixed)}) is written as columns of the query")
        return
    yield Step(tree)


def _kept_aside(tree: exp.Insert, output: OutputTable) -> Step:
    """The new rows, worked out before the old ones are taken away that they come from."""
    aside = exp.to_table(f"new_rows_of_{output.name.replace('.', '_')}")
    properties = exp.Properties(expressions=[exp.TemporaryProperty()])
    made = exp.Create(this=aside, kind="TABLE", replace=True, properties=properties, expression=tree.expression.copy())
    tree.set("expression", exp.select("*").from_(aside.copy()))
    return Step(
        made, f"INSERT OVERWRITE reads {output.name} itself: its rows go to the temporary table {aside.name} first"
    )


def _take_partition(tree: exp.Insert, target: exp.Table) -> dict[str, exp.Expr] | None:
    """The values of a PARTITION clause by column, none if it only names them; None where there is no such clause."""
    holder = tree if tree.args.get("partition") else target
    partition = holder.args.get("partition")
    if partition is None:
        return None
    holder.set("partition", None)
    return {part.this.name: part.expression for part in partition.expressions if isinstance(part, exp.EQ)}


def _replaced(tree: exp.Insert, output: OutputTable, fixed: dict[str, exp.Expr] | None) -> exp.Expr | None:
    """Which rows an INSERT OVERWRITE takes away: those it says, or those of the partitions that production changed."""
    own = tree.args.get("where")
    if own is not None:
        found: exp.Expr = own.this if isinstance(own, exp.Where) else own
        return found
    if fixed:
        return exp.and_(*(exp.column(name).eq(value.copy()) for name, value in fixed.items()))
    if not output.keys or (fixed is None and not output.dynamic):
        return None
    if not output.touched:
        raise BadInput(
            f"INSERT OVERWRITE {output.name}: production's run changed no partition, so none can be replaced"
        )
    return exp.or_(*output.touched, dialect="duckdb")


def _insert_fixed(tree: exp.Insert, target: exp.Table, fixed: dict[str, exp.Expr], output: OutputTable) -> None:
    taken = {name.lower() for name in fixed}
    if isinstance(tree.this, exp.Schema):
        names = [part.name for part in tree.this.expressions]
    else:
        names = [name for name in output.columns if name.lower() not in taken]
    listed = [exp.to_identifier(name) for name in (*names, *fixed)]
    query = exp.select("q.*", *(value.copy() for value in fixed.values())).from_(tree.expression.subquery("q"))
    tree.set("this", exp.Schema(this=target, expressions=listed))
    tree.set("expression", query)


def _spell_stars(tree: exp.Merge, output: OutputTable) -> str:
    """UPDATE SET * and INSERT * go by name in Databricks, by position in DuckDB."""
    source = tree.args["using"].alias_or_name
    changed = False
    for when in tree.args["whens"].expressions:
        then = when.args["then"]
        if isinstance(then, exp.Update) and any(isinstance(part, exp.Star) for part in then.expressions):
            pairs = [exp.column(name, quoted=True).eq(_of(source, name)) for name in output.columns]
            then.set("expressions", pairs)
            changed = True
        if isinstance(then, exp.Insert) and isinstance(then.this, exp.Star):
            then.set("this", exp.Tuple(expressions=[exp.column(name, quoted=True) for name in output.columns]))
            then.set("expression", exp.Tuple(expressions=[_of(source, name) for name in output.columns]))
            changed = True
    return "the columns that * stands for in MERGE are written out" if changed else ""


def _of(source: str, name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier(source))
