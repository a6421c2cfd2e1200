"""What the tables of a task are called: USE is followed, and the name of a catalog is left out.

Invariant: afterwards every name has at most two parts, and two tables never share one.
"""

from collections.abc import Iterable, Sequence

from sqlglot import exp

from services.contracts.errors import BadInput
from services.grader.etl.increment import is_cte, name_of, target_of, write_of


def short_name(name: str) -> str:
    """A dotted name in lower case without its catalog."""
    return ".".join(name.lower().split(".")[-2:])


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Each name's short form. Raises BadInput where two become one."""
    found: dict[str, str] = {}
    for name in sorted(set(map(str.lower, names))):
        short = short_name(name)
        if short in found.values():
            raise BadInput(f"two tables would both be called {short}: rename one in the SQL and in the sources")
        found[name] = short
    return found


def settle_names(trees: Sequence[exp.Expr]) -> tuple[tuple[exp.Expr, ...], tuple[str, ...]]:
    """The statements without USE and with short names, and what was changed. Raises BadInput."""
    kept, changes = spell_out(trees)
    named = [table for tree in kept for table in _named(tree)]
    shorts = short_names(name_of(table) for table in named)
    changes += [f"{name} is called {short}" for name, short in shorts.items() if name != short]
    for table in named:
        if len(table.parts) > 2:
            table.set("catalog", None)
    return tuple(kept), tuple(changes)


def spell_out(trees: Sequence[exp.Expr]) -> tuple[list[exp.Expr], list[str]]:
    """The statements without USE, with the catalog and schema that it gives to names, and what was changed."""
    kept: list[exp.Expr] = []
    changes: list[str] = []
    catalog = schema = ""
    temporary: set[str] = set()
    for tree in (tree.copy() for tree in trees):
        if isinstance(tree, exp.Use):
            catalog, schema = _used(tree, catalog, schema)
            changes.append(f"{tree.sql(dialect='databricks')} is followed: names without a schema get {schema}")
            continue
        write = write_of(tree)
        temporary |= {write.table} if write is not None and write.deed == "temporary" else set()
        for table in _named(tree):
            if len(table.parts) == 1 and schema and name_of(table) not in temporary:
                table.set("db", exp.to_identifier(schema))
            if len(table.parts) == 2 and catalog:
                table.set("catalog", exp.to_identifier(catalog))
        kept.append(tree)
    return kept, changes


def _used(tree: exp.Use, catalog: str, schema: str) -> tuple[str, str]:
    parts = [part.name for part in tree.this.parts]
    if str(tree.args.get("kind") or "").upper() == "CATALOG":
        return parts[0], "default"
    return (parts[0], parts[1]) if len(parts) == 2 else (catalog, parts[0])


def _named(tree: exp.Expr) -> list[exp.Table]:
    """The tables by name: no CTEs and no table functions."""
    target = target_of(tree)
    tables = [table for table in tree.find_all(exp.Table) if table.find_ancestor(exp.Hint) is None]
    return [
        table for table in tables if isinstance(table.this, exp.Identifier) and (table is target or not is_cte(table))
    ]
