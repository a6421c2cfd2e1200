"""One change in one place of a syntax tree at a time."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlglot import exp

Node = TypeVar("Node", bound=exp.Expr)


def changed(tree: exp.Expr, kind: type[Node], change: Callable[[Node], exp.Expr | None]) -> Iterator[exp.Expr]:
    """A copy of the tree for every node of the kind that `change` replaces; None leaves it as it is."""
    for index in range(sum(1 for _ in tree.find_all(kind))):
        whole = tree.copy()
        node = list(whole.find_all(kind))[index]
        new = change(node)
        if new is None:
            continue
        if node is whole:
            yield new
        else:
            if new is not node:
                node.replace(new)
            yield whole


def conjuncts(condition: exp.Expr) -> list[exp.Expr]:
    """The parts that AND holds together."""
    condition = condition.unnest()
    return list(condition.flatten()) if isinstance(condition, exp.And) else [condition]


def disjuncts(condition: exp.Expr) -> list[exp.Expr]:
    """The parts that OR holds together."""
    condition = condition.unnest()
    return list(condition.flatten()) if isinstance(condition, exp.Or) else [condition]


def sources(select: exp.Select) -> dict[str, str]:
    """The plain tables of one SELECT: alias or name -> table, all in lower case."""
    found: dict[str, str] = {}
    start = select.args.get("from_")
    joins = [join.this for join in select.args.get("joins") or []]
    for source in ([start.this] if start is not None else []) + joins:
        if isinstance(source, exp.Table):
            found[source.alias_or_name.lower()] = source.name.lower()
    return found


def owner(column: exp.Column, schema: "Tables") -> tuple[str, str] | None:
    """(alias, table) that a column belongs to in the nearest SELECT around; None if it cannot be told."""
    select = column.find_ancestor(exp.Select)
    while select is not None:
        found = sources(select)
        if column.table:
            if column.table.lower() in found:
                return column.table.lower(), found[column.table.lower()]
        else:
            for alias, table in found.items():
                if column.name.lower() in schema.get(table, {}):
                    return alias, table
        select = select.find_ancestor(exp.Select)
    return None


Tables = dict[str, dict[str, str]]
