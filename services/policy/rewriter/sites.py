"""Where a rule may be applied: one select of a query, what its columns are, and the trees that rules build."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from services.policy.rewriter.facts import Facts

Site = tuple[str, Callable[[], None]]
"""A place within the select, and the change there, made in place."""

Rule = Callable[["Place"], Iterator[Site]]


@dataclass(frozen=True)
class Base:
    """A source whose rows are rows of one base table, each at most once; `columns` maps its names to the table's."""

    table: str
    columns: dict[str, str]


@dataclass(frozen=True)
class Place:
    """One select with its scope, the facts, and the root that holds the whole query."""

    scope: Scope
    facts: Facts
    root: exp.Expr

    @property
    def select(self) -> exp.Select | None:
        """The select, if it is one and no set operation."""
        found = self.scope.expression
        return found if isinstance(found, exp.Select) else None

    def base(self, alias: str) -> Base | None:
        """What the source of that name is a filter or projection of."""
        source = self.scope.sources.get(alias)
        return None if source is None else base_of(source, self.facts)

    def origin(self, column: exp.Expr | None) -> tuple[str, str] | None:
        """The base table and column that a column of this select comes from unchanged."""
        if not isinstance(column, exp.Column):
            return None
        base = self.base(column.table)
        name = base and base.columns.get(column.name.lower())
        return (base.table, name) if base and name else None

    def type_of(self, column: exp.Expr | None) -> str:
        """The column's type; empty if it is not known."""
        origin = self.origin(column)
        return self.facts.type_of(*origin) if origin else ""

    def null_free(self, column: exp.Expr | None) -> bool:
        """Whether the column holds no null here: declared so, and no outer join adds one."""
        origin = self.origin(column)
        if origin is None or not isinstance(column, exp.Column) or self.select is None:
            return False
        sides = {join.alias_or_name: join.side for join in joins_of(self.select)}
        outer = sides.get(column.table) or any(side in ("RIGHT", "FULL") for side in sides.values())
        return not outer and self.facts.not_null(*origin)

    def fresh(self, name: str) -> str:
        """A name that nothing in the query has yet."""
        taken = {found.name.lower() for found in self.root.find_all(exp.Identifier)}
        return next(f"{name}{number or ''}" for number in range(len(taken) + 1) if f"{name}{number or ''}" not in taken)


def base_of(source: object, facts: Facts) -> Base | None:
    """The base table of a table, or of a subquery that only filters, renames or drops columns of one."""
    if isinstance(source, exp.Table):
        name = ".".join(part.name for part in source.parts).lower()
        name = name if name in facts.schema else name.removeprefix("main.")
        return Base(name, {column: column for column in facts.schema[name]}) if name in facts.schema else None
    select = source.expression if isinstance(source, Scope) else None
    if not isinstance(source, Scope) or not isinstance(select, exp.Select) or not is_plain(select):
        return None
    inner = base_of(source.sources.get(select.args["from_"].alias_or_name), facts)
    if inner is None:
        return None
    names = ((column.alias_or_name.lower(), column.unalias()) for column in select.selects)
    columns = {
        name: inner.columns[of.name] for name, of in names if isinstance(of, exp.Column) and of.name in inner.columns
    }
    return Base(inner.table, columns)


def is_plain(select: exp.Select) -> bool:
    """Whether the select gives each row of its one source at most once, and makes no others."""
    if select.args.get("from_") is None or select.args.get("group") or select.args.get("laterals"):
        return False
    aggregates = any(not found.find_ancestor(exp.Window) for found in own(select, exp.AggFunc))
    unnested = any(True for _ in own(select, exp.Explode, exp.Unnest))
    return not (joins_of(select) or aggregates or unnested)


def joins_of(select: exp.Select | None) -> list[exp.Join]:
    """The joins, in order."""
    found: list[exp.Join] = [] if select is None else select.args.get("joins") or []
    return list(found)


def own(select: exp.Expr | None, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The nodes of these kinds within the select, its subqueries left out."""
    if select is None:
        return
    for node in select.walk(prune=lambda n: n is not select and isinstance(n, exp.Query)):
        if isinstance(node, kinds):
            yield node


def shows_all(select: exp.Select | None) -> bool:
    """Whether the select has a star that is not COUNT(*)."""
    return any(not isinstance(star.parent, exp.Count) for star in own(select, exp.Star))


def conjuncts(condition: exp.Expr | None) -> list[exp.Expr]:
    """The conditions that AND joins."""
    if condition is None:
        return []
    if isinstance(condition, exp.Where | exp.Paren):
        return conjuncts(condition.this)
    return [*conjuncts(condition.left), *conjuncts(condition.right)] if isinstance(condition, exp.And) else [condition]


def columns_in(tree: exp.Expr) -> list[exp.Column]:
    """The columns anywhere in the tree."""
    found = [tree] if isinstance(tree, exp.Column) else []
    return found or list(tree.find_all(exp.Column))


def tables_in(tree: exp.Expr) -> set[str]:
    """The names of the sources that the tree's columns are of."""
    return {column.table for column in columns_in(tree)}


def is_deterministic(tree: exp.Expr) -> bool:
    """Whether the tree has no subquery, window or function that is not known to be pure."""
    unsure = (exp.Query, exp.Window, exp.Rand, exp.Anonymous, exp.CurrentTimestamp, exp.CurrentDate, exp.Explode)
    return not any(True for _ in tree.find_all(*unsure))


def column(table: str, name: str) -> exp.Column:
    """A qualified column."""
    return exp.column(exp.to_identifier(name), table=table)


def conjunction(conditions: list[exp.Expr]) -> exp.Expr | None:
    """All the conditions, or None if there is none."""
    return exp.and_(*conditions, copy=True) if conditions else None


def set_where(select: exp.Expr, conditions: list[exp.Expr]) -> None:
    """Make these the select's conditions."""
    condition = conjunction(conditions)
    select.set("where", exp.Where(this=condition) if condition is not None else None)
