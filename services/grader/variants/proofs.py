"""Why a mutant is no near miss at all: proofs from keys and constraints. Without one, a survivor is unresolved.

A proof holds for every database that keeps the rules (services.grader.variants.rules), not only for those looked at.
"""

from collections.abc import Iterator

from sqlglot import exp

from services.grader.variants.editing import conjuncts, sources
from services.grader.variants.hints import parse
from services.grader.variants.mutants import Mutant
from services.grader.variants.relations import Tables
from services.grader.variants.rules import Rules

Column = tuple[str, str]
"""(alias, column), in lower case."""


class Facts:
    """What the rules say of the columns of one SELECT."""

    def __init__(self, select: exp.Select, rules: Rules, base: Tables) -> None:
        self.tables = {alias: table for alias, table in sources(select).items() if table in base}
        self.select = select
        self._rules = rules
        self._base = base
        self.joined = bool(select.args.get("joins"))
        self.outer = any(join.side for join in select.args.get("joins") or [])

    def column(self, node: exp.Expr) -> Column | None:
        """The column that a node is, if it is one of a table of this SELECT."""
        if not isinstance(node, exp.Column):
            return None
        name = node.name.lower()
        for alias, table in self.tables.items():
            known = {column.lower() for column, _ in self._base[table].columns}
            if name in known and node.table.lower() in ("", alias):
                return alias, name
        return None

    def keys(self, alias: str) -> Iterator[set[str]]:
        """The keys of a table, by lower-case column names; primary and unique ones."""
        table = self.tables[alias]
        names = [column.lower() for column, _ in self._base[table].columns]
        for key in self._rules[table].keys:
            if set(key) <= self._rules[table].never_null:
                yield {names[place] for place in key}

    def never_null(self, column: Column) -> bool:
        """Whether a column is never NULL in a row of this SELECT."""
        table = self.tables[column[0]]
        place = self._base[table].place(column[1])
        return not self.outer and place in self._rules[table].never_null

    def points(self, mine: Column, theirs: Column) -> bool:
        """Whether every row of the first table finds exactly one row of the second by these columns."""
        table, other = self.tables[mine[0]], self.tables[theirs[0]]
        place, at = self._base[table].place(mine[1]), self._base[other].place(theirs[1])
        links = self._rules[table].links
        linked = any(k.places == (place,) and k.table == other and k.others == (at,) and not k.loose for k in links)
        filled = place in self._rules[table].never_null
        return linked and filled and (at,) in self._rules[other].keys


def proof(mutant: Mutant, tree: exp.Expr, rules: Rules, base: Tables) -> str | None:
    """The proof that a mutant gives what the gold gives on every database that keeps the rules; None without one."""
    if not mutant.sql:
        return None
    other = parse(mutant.sql)
    if other is None:
        return None
    return _of_parts(tree, other, mutant.kind, rules, base)


def _of_parts(gold: exp.Expr, other: exp.Expr, kind: str, rules: Rules, base: Tables) -> str | None:
    """The proof for the one SELECT in which the two differ."""
    pairs = list(zip(_selects(gold), _selects(other), strict=False))
    if len(list(_selects(gold))) != len(list(_selects(other))):
        return None
    differing = [(one, two) for one, two in pairs if _own(one) != _own(two)]
    if len(differing) != 1:
        return None
    one, two = differing[0]
    facts = Facts(one, rules, base)
    match kind:
        case "DISTINCT dropped":
            return _distinct(one, two, facts)
        case "COUNT(*) for COUNT(col), or back":
            return _count(one, two, facts)
        case "INNER for LEFT, or back":
            return _outer_join(one, two, facts)
        case "tie-break missing" | "ORDER BY missing" | "order turned":
            return _order(one, two, facts)
        case "wrong aggregate level":
            return _level(one, two, facts)
        case _:
            return None


def _selects(tree: exp.Expr) -> Iterator[exp.Select]:
    yield from tree.find_all(exp.Select)


def _own(select: exp.Select) -> str:
    """A SELECT's text with the SELECTs inside it blanked."""
    copy = select.copy()
    for inner in list(copy.find_all(exp.Select)):
        if inner is not copy and inner.find_ancestor(exp.Select) is copy:
            inner.replace(exp.select("1"))
    return copy.sql(dialect="duckdb")


def _distinct(one: exp.Select, two: exp.Select, facts: Facts) -> str | None:
    if one.args.get("distinct") is not None and two.args.get("distinct") is None and one.args.get("limit") is None:
        if isinstance(one.parent, exp.SetOperation) and one.parent.args.get("distinct"):
            return "constraint: a set operation drops duplicates itself"
        if isinstance(one.parent, exp.Subquery | exp.In) and one.find_ancestor(exp.In) is not None:
            return "constraint: IN does not count"
        shown = {column for item in one.expressions if (column := facts.column(item.unalias())) is not None}
        if (
            facts.tables
            and not facts.outer
            and len(facts.tables) == 1
            and not facts.joined
            and _identified(shown, facts)
        ):
            return "key: the rows shown hold a key"
        grouped = one.args.get("group")
        if grouped is not None and all(key in [i.unalias() for i in one.expressions] for key in grouped.expressions):
            return "key: the groups are shown by what they are grouped by"
        return None
    gone = [
        node for node in one.find_all(exp.Distinct) if isinstance(node.parent, exp.Count) and len(node.expressions) == 1
    ]
    single = not facts.joined and len(facts.tables) == 1
    found = [facts.column(node.expressions[0]) for node in gone]
    if len(gone) == 1 and single and found[0] is not None and {found[0][1]} in list(facts.keys(found[0][0])):
        return "key: each value is counted once anyway"
    return None


def _count(one: exp.Select, two: exp.Select, facts: Facts) -> str | None:
    counts = [(a, b) for a, b in zip(one.find_all(exp.Count), two.find_all(exp.Count), strict=False) if a != b]
    if not counts:
        return None
    for a, b in counts:
        named = b.this if isinstance(a.this, exp.Star) else a.this
        distinct = isinstance(named, exp.Distinct)
        column = facts.column(named.expressions[0] if distinct else named)
        if column is None or not facts.never_null(column):
            return None
        if distinct and (facts.joined or len(facts.tables) != 1 or {column[1]} not in list(facts.keys(column[0]))):
            return None
    return "constraint: the column is never NULL" + (" and a key" if distinct else "")


def _outer_join(one: exp.Select, two: exp.Select, facts: Facts) -> str | None:
    """LEFT for INNER, where nothing is unmatched or what is unmatched is thrown away; and back."""
    joins = list(zip(one.args.get("joins") or [], two.args.get("joins") or [], strict=False))
    places = [place for place, (a, b) in enumerate(joins) if a.side != b.side]
    if len(places) != 1:
        return None
    join = joins[places[0]][0]
    if not isinstance(join.this, exp.Table) or join.args.get("on") is None:
        return None
    alias = join.this.alias_or_name.lower()
    if any(a.side for a, _ in joins if a is not join):
        return None
    later = [a.args["on"] for a, _ in joins[places[0] + 1 :] if a.args.get("on") is not None]
    where = one.args.get("where")
    conditions = [part for on in later for part in conjuncts(on)] + (conjuncts(where.this) if where is not None else [])
    if any(_rejects_null(part, alias, facts) for part in conditions):
        return "constraint: another condition rejects the rows without a match"
    inner = Facts(one, _rules_without_outer(facts), facts._base)
    inner.outer = False
    sides = [
        (inner.column(p.this), inner.column(p.expression)) for p in conjuncts(join.args["on"]) if isinstance(p, exp.EQ)
    ]
    if len(sides) != 1 or len(conjuncts(join.args["on"])) != 1:
        return None
    a, b = sides[0]
    if a is None or b is None:
        return None
    mine, theirs = (b, a) if a[0] == alias else (a, b)
    return "key: every row has its one match" if inner.points(mine, theirs) else None


def _rules_without_outer(facts: Facts) -> Rules:
    return facts._rules


def _rejects_null(condition: exp.Expr, alias: str, facts: Facts) -> bool:
    """Whether a condition is never true for a row in which the table is all NULL."""
    if not isinstance(
        condition, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE | exp.Like | exp.ILike | exp.In | exp.Between
    ):
        return False
    for side in (condition.this, condition.args.get("expression")):
        if isinstance(side, exp.Column) and side.table.lower() == alias:
            return True
        column = facts.column(side) if isinstance(side, exp.Expr) else None
        if column is not None and column[0] == alias:
            return True
    return False


def _order(one: exp.Select, two: exp.Select, facts: Facts) -> str | None:
    whole = one.args.get("group") is None and one.find(exp.AggFunc) is not None
    if whole and all(item.find(exp.AggFunc) for item in one.expressions):
        return "constraint: there is one row"
    if one.parent is not None and one.args.get("limit") is None and not isinstance(one.parent, exp.CTE):
        return "constraint: the order of a part is of no effect"
    kept = two.args.get("order")
    keys = {column for key in (kept.expressions if kept is not None else []) if (column := facts.column(key.this))}
    same = (
        [a == b for a, b in zip(one.args["order"].expressions, kept.expressions, strict=False)]
        if kept is not None
        else [False]
    )
    if (
        not facts.joined
        and len(facts.tables) == 1
        and one.args.get("group") is None
        and all(same)
        and _identified(keys, facts)
    ):
        return "key: the keys that are left leave no ties"
    return None


def _level(one: exp.Select, two: exp.Select, facts: Facts) -> str | None:
    """A key of the group less, where what is left tells it."""
    group, other = one.args.get("group"), two.args.get("group")
    if group is None or other is None:
        return None
    before = [facts.column(key) for key in group.expressions]
    after = [facts.column(key) for key in other.expressions]
    gone = [column for column in before if column is not None and column not in after]
    if None in before or None in after or len(after) >= len(before) or facts.outer:
        return None
    known = {column for column in after if column is not None}
    if all(any(key <= {c for a, c in known if a == column[0]} for key in facts.keys(column[0])) for column in gone):
        return "key: what is left of the group tells the rest"
    return None


def _identified(columns: set[Column], facts: Facts) -> bool:
    """Whether columns hold a key of every table of the SELECT."""
    return bool(facts.tables) and all(
        any(key <= {name for owner, name in columns if owner == alias} for key in facts.keys(alias))
        for alias in facts.tables
    )
