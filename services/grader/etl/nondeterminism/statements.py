"""The statements of a job in order: what each leaves in the tables that it makes or changes.

Invariant: a statement of a kind that is not named here raises NotUnderstood.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from services.grader.etl.nondeterminism.facts import Facts, Finding, Findings, Relation, hardened, merged
from services.grader.etl.nondeterminism.frames import NotUnderstood
from services.grader.etl.nondeterminism.lineage import find_table, full_name, relation_of

WITHOUT_EFFECT = (exp.Transaction, exp.Commit, exp.Analyze)
MANY = "several source rows may meet one target row, and any of them may win"


def parsed(statements: Iterable[str]) -> list[exp.Expr]:
    """The syntax trees of all statements. Raises NotUnderstood."""
    found: list[exp.Expr] = []
    for text in statements:
        try:
            trees = sqlglot.parse(text, read="duckdb")
        except SqlglotError as error:
            raise NotUnderstood(f"it cannot be parsed: {str(error).splitlines()[0]}") from error
        found.extend(tree for tree in trees if tree is not None)
    return found


class Tables:
    """The tables that a job sees, while its statements go by."""

    def __init__(self, known: dict[str, Relation]) -> None:
        self._known = dict(known)
        self._defaults: dict[str, dict[str, Facts]] = {}
        self._views: dict[str, tuple[exp.Create, list[str]]] = {}
        self.last: Relation | None = None
        """What the last statement gave, if it was a query."""

    def find(self, name: str) -> Relation | None:
        """A table, if it is there."""
        try:
            return self._known[find_table(name, self._known)]
        except NotUnderstood:
            return None

    def run(self, tree: exp.Expr) -> None:
        """Take in one statement. Raises NotUnderstood."""
        self.last = None
        for name, (view, names) in self._views.items():
            self._known[name] = self._query(view.expression, view).renamed(names)
        match tree:
            case exp.Create():
                self._create(tree)
            case exp.Insert():
                self._insert(tree)
            case exp.Update():
                self._update(tree)
            case exp.Delete():
                self._delete(tree)
            case exp.Merge():
                self._merge(tree)
            case exp.Drop():
                self._drop(tree)
            case exp.TruncateTable():
                for table in tree.expressions:
                    self._empty(find_table(full_name(table), self._known))
            case exp.Query():
                self.last = relation_of(tree, self._known)
            case _ if not isinstance(tree, WITHOUT_EFFECT):
                raise NotUnderstood(f"a statement of the kind {type(tree).__name__} is not understood")

    def _create(self, tree: exp.Create) -> None:
        if tree.kind not in ("TABLE", "VIEW"):
            raise NotUnderstood(f"CREATE {tree.kind} is not understood")
        target = tree.this
        table = target.this if isinstance(target, exp.Schema) else target
        name = full_name(table)
        names = [part.name.lower() for part in target.expressions] if isinstance(target, exp.Schema) else []
        if tree.kind == "VIEW":
            self._views[name] = (tree, names)
        else:
            self._views.pop(name, None)
        if tree.expression is not None:
            made = self._query(tree.expression, tree).renamed(names)
        else:
            made = Relation({part: Facts(present=False) for part in names}, keys=EMPTY)
            self._defaults[name] = {part.name.lower(): self._default(part) for part in target.expressions}
            made = replace(made, columns={part.name.lower(): _typed(part) for part in target.expressions})
        if tree.args.get("exists") and self.find(name) is not None:
            made = _appended(self._known.pop(find_table(name, self._known)), made)
        self._known[name] = made

    def _default(self, column: exp.Expr) -> Facts:
        """What a column holds where INSERT does not name it."""
        for constraint in column.find_all(exp.DefaultColumnConstraint):
            return self._value(constraint.this)
        if any(column.find_all(exp.GeneratedAsIdentityColumnConstraint, exp.ComputedColumnConstraint)):
            raise NotUnderstood("a generated column is not understood")
        return Facts(derived=False)

    def _value(self, node: exp.Expr) -> Facts:
        relation = relation_of(exp.select(exp.alias_(node.copy(), "value")), self._known)
        return relation.columns["value"]

    def _query(self, node: exp.Expr, statement: exp.Expr) -> Relation:
        """The rows that a statement brings, with the CTEs in front of it."""
        query = node.copy()
        if isinstance(query, exp.Values):
            query = exp.select("*").from_(exp.alias_(query, "rows", table=True))
        if not isinstance(query, exp.Query):
            raise NotUnderstood(f"{type(query).__name__} gives no rows that are understood")
        with_ = statement.args.get("with_")
        if with_ is not None and not query.args.get("with_"):
            query.set("with_", with_.copy())
        elif with_ is not None:
            raise NotUnderstood("two WITH clauses in one statement are not understood")
        return relation_of(query, self._known)

    def _insert(self, tree: exp.Insert) -> None:
        target = tree.this
        table = target.this if isinstance(target, exp.Schema) else target
        name = find_table(full_name(table), self._known)
        before = self._known[name]
        columns = [part.name.lower() for part in target.expressions] if isinstance(target, exp.Schema) else []
        rows = self._query(tree.expression, tree)
        if not tree.args.get("by_name"):
            wanted = columns or list(before.columns)
            if len(wanted) != len(rows.columns):
                raise NotUnderstood(f"INSERT brings {len(rows.columns)} columns, {name} takes {len(wanted)}")
            rows = _positioned(rows, wanted)
        defaults = self._defaults.get(name, {})
        missing = {
            part: defaults.get(part, Facts(derived=False)) for part in before.columns if part not in rows.columns
        }
        rows = replace(rows, columns={part: {**rows.columns, **missing}[part] for part in before.columns})
        rows = replace(
            rows, columns={part: _stored(facts, before.columns[part]) for part, facts in rows.columns.items()}
        )
        if tree.args.get("conflict") or tree.args.get("alternative"):
            rows = self._resolved(tree, rows)
        self._known[name] = rows if tree.args.get("overwrite") else _appended(before, rows)

    def _resolved(self, tree: exp.Insert, rows: Relation) -> Relation:
        """INSERT with conflicts: two new rows for one key meet in any order, unless the key is a key of theirs."""
        conflict = tree.args.get("conflict")
        keys = conflict.args.get("conflict_keys") if conflict is not None else None
        names = frozenset(part.name.lower() for part in keys or ())
        if names and any(key <= names for key in rows.keys):
            return rows
        columns = {
            name: facts if name in names else facts.adding([Finding("B", MANY, "on conflict")])
            for name, facts in rows.columns.items()
        }
        return replace(rows, columns=columns)

    def _update(self, tree: exp.Update) -> None:
        name = find_table(full_name(tree.this), self._known)
        alias = tree.this.alias_or_name
        values = {part.this.name.lower(): part.expression for part in tree.expressions}
        query = exp.select(*(exp.alias_(value.copy(), f"new_{column}") for column, value in values.items()))
        query = query.from_(tree.this.copy())
        froms = tree.args.get("from_")
        others = [froms.this, *(froms.this.args.get("joins") or ())] if froms is not None else []
        for other in others:
            query = (
                query.join(other.copy()) if isinstance(other, exp.Join) else query.join(other.copy(), join_type="cross")
            )
        where = tree.args.get("where")
        if where is not None:
            query = query.where(where.this.copy())
        found = self._query(query, tree)
        several = self._several(tree, query, alias) if others else frozenset()
        for column in values:
            if column not in self._known[name].columns:
                raise NotUnderstood(f"{column} is no column of {name}")
            self._change(name, column, found.columns[f"new_{column}"].adding(found.rows | several))

    def _several(self, tree: exp.Expr, query: exp.Select, alias: str) -> Findings:
        """Whether a target's row may meet several source rows: no key of the join is among the target's columns."""
        name = find_table(full_name(tree.this), self._known)
        whole = frozenset(self._known[name].columns)
        known = {**self._known, name: replace(self._known[name], keys=frozenset([whole]))}
        probe = query.copy()
        probe.set("expressions", [exp.alias_(exp.column(column, alias), column) for column in sorted(whole)])
        with_ = tree.args.get("with_")
        if with_ is not None:
            probe.set("with_", with_.copy())
        joined = relation_of(probe, known)
        return frozenset() if joined.keys else frozenset([Finding("B", MANY, "update")])

    def _delete(self, tree: exp.Delete) -> None:
        name = find_table(full_name(tree.this), self._known)
        query = exp.select(exp.alias_(exp.Literal.number(1), "one")).from_(tree.this.copy())
        for other in tree.args.get("using") or ():
            query = query.join(other.copy(), join_type="cross")
        where = tree.args.get("where")
        if where is None:
            self._empty(name)
            return
        found = self._query(query.where(where.this.copy()), tree)
        own = self._known[name].rows | (found.rows - self._known[name].rows)
        self._known[name] = replace(self._known[name], rows=own)

    def _merge(self, tree: exp.Merge) -> None:
        name = find_table(full_name(tree.this), self._known)
        if tree.args.get("using_cond") or tree.args.get("on") is None:
            raise NotUnderstood("MERGE … USING (columns) is not understood")
        target, source, on = tree.this, tree.args["using"], tree.args["on"]
        base = exp.select().from_(target.copy()).join(source.copy(), join_type="cross").where(on.copy())
        several = self._several(tree, base, target.alias_or_name)
        for when in tree.args["whens"].expressions:
            self._when(tree, when, base, name, several)

    def _when(self, tree: exp.Merge, when: exp.When, base: exp.Select, name: str, several: Findings) -> None:
        action = when.args["then"]
        condition = when.args.get("condition")
        query = base.where(condition.copy()) if condition is not None else base
        if isinstance(action, exp.Update) and action.expressions:
            values = {part.this.name.lower(): part.expression for part in action.expressions}
        elif isinstance(action, exp.Insert) and action.this is not None and action.expression is not None:
            columns = [part.name.lower() for part in action.this.expressions]
            values = dict(zip(columns, action.expression.expressions, strict=True))
        elif isinstance(action, exp.Var) and action.name.upper() in ("DELETE", "DO NOTHING"):
            values = {}
        else:
            raise NotUnderstood(f"MERGE with {action.sql('duckdb')} is not understood")
        chosen = [exp.alias_(value.copy(), f"new_{column}") for column, value in values.items()]
        chosen = chosen or [exp.alias_(exp.Literal.number(1), "one")]
        found = self._query(query.select(*chosen), tree)
        updates = isinstance(action, exp.Update)
        for column in values:
            fresh = found.columns[f"new_{column}"]
            self._change(name, column, fresh.adding(found.rows | several) if updates else fresh)
        if not updates:
            self._known[name] = replace(self._known[name], rows=self._known[name].rows | found.rows, keys=frozenset())

    def _change(self, name: str, column: str, fresh: Facts) -> None:
        """A column that holds old values and new ones."""
        before = self._known[name]
        mixed = _mixed(before.columns[column], _stored(fresh, before.columns[column]))
        keys = frozenset(key for key in before.keys if column not in key)
        kept = frozenset(one for one in before.dependencies if column not in one[0] | one[1])
        self._known[name] = Relation({**before.columns, column: mixed}, before.rows, keys, kept)

    def _drop(self, tree: exp.Drop) -> None:
        for table in tree.args.get("tables") or ([tree.this] if tree.this is not None else []):
            name = full_name(table)
            if self.find(name) is not None:
                del self._known[find_table(name, self._known)]
                self._views.pop(name, None)

    def _empty(self, name: str) -> None:
        columns = {
            part: Facts(type=facts.type, floating=facts.floating) for part, facts in self._known[name].columns.items()
        }
        self._known[name] = Relation(columns, keys=EMPTY)


EMPTY: frozenset[frozenset[str]] = frozenset([frozenset()])
"""The key of a table without rows, or with one."""


def _appended(before: Relation, rows: Relation) -> Relation:
    """A table after rows were added: keys hold only if there was nothing before."""
    empty = before.keys == EMPTY and not any(facts.findings for facts in before.columns.values())
    if empty:
        columns = {name: replace(facts, type=before.columns[name].type) for name, facts in rows.columns.items()}
        return replace(rows, columns=columns)
    columns = {name: _mixed(facts, rows.columns[name]) for name, facts in before.columns.items()}
    return Relation(columns, before.rows | rows.rows)


def _stored(fresh: Facts, column: Facts) -> Facts:
    """A value in a column of its own type: what has no fractions, or fewer digits, makes a drift a difference."""
    if not column.type or column.type == "DOUBLE":
        return fresh
    return replace(fresh, findings=hardened(fresh.findings, f"a column of the type {column.type}"))


def _mixed(before: Facts, fresh: Facts) -> Facts:
    """A column of old values and new ones."""
    stamped = fresh.pure and (before.pure or not before.findings)
    return replace(merged([before, fresh]), derived=True, stamped=stamped, type=before.type)


def _positioned(rows: Relation, wanted: Sequence[str]) -> Relation:
    return rows.renamed(wanted)


def _typed(column: exp.Expr) -> Facts:
    kind = column.args.get("kind")
    text = kind.sql("duckdb").upper() if kind is not None else ""
    return Facts(floating=not text or any(name in text for name in ("DOUBLE", "FLOAT", "REAL")), type=text)
