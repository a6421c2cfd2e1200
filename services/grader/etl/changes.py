"""UPDATE, DELETE and MERGE taken apart: the pieces that an agent wrote, and the statement that is made of them anew.

Invariant: every piece of the statement stands in a query of `queries` in the same brackets, so that a piece that ends
its brackets early is a syntax error in one of the two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

_THEN = ("DELETE", "DO NOTHING")


@dataclass(frozen=True)
class _Case:
    """One WHEN of a MERGE."""

    when: str
    condition: str | None
    then: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """The parts of one statement; `sources` is what stands in USING or FROM."""

    kind: str
    sources: tuple[str, ...] = ()
    condition: str | None = None
    assigned: tuple[tuple[str, str], ...] = ()
    cases: tuple[_Case, ...] = ()

    def queries(self) -> Iterator[str]:
        """Queries that hold every piece. The target stands in no FROM: its own name is checked apart."""
        values = [value for _, value in self.assigned] + [value for case in self.cases for value in case.values]
        conditions = [self.condition, *(case.condition for case in self.cases)]
        tables = f" FROM {', '.join(self.sources)}" if self.sources else ""
        wanted = ", ".join(f"(\n{value}\n)" for value in values) or "1"
        yield f"SELECT {wanted}{tables}"
        for condition in conditions:
            if condition is not None:
                yield f"SELECT 1{tables} WHERE (\n{condition}\n)"

    def statement(self, target: str, alias: str) -> str:
        """The statement on that target."""
        where = f" WHERE (\n{self.condition}\n)" if self.condition is not None else ""
        listed = ", ".join(self.sources)
        match self.kind:
            case "delete":
                return f"DELETE FROM {target} AS {alias}{' USING ' + listed if listed else ''}{where}"
            case "update":
                return f"UPDATE {target} AS {alias} SET {_sets(self.assigned)}{_from(listed)}{where}"
            case _:
                cases = " ".join(map(_case_text, self.cases))
                return f"MERGE INTO {target} AS {alias} USING {listed} ON (\n{self.condition}\n) {cases}"


def change_parts(tree: exp.Expr) -> Change | None:
    """The parts of a statement; None if it has a form that is not known here."""
    where = tree.args.get("where")
    condition = where.this.sql("duckdb") if where else None
    match tree:
        case exp.Delete():
            return Change("delete", _texts(tree.args.get("using") or ()), condition)
        case exp.Update():
            assigned = _assigned(tree.expressions)
            from_ = tree.args.get("from_")
            sources = (from_.this.sql("duckdb"),) if from_ else ()
            return None if not assigned else Change("update", sources, condition, assigned)
        case exp.Merge():
            return _merge(tree)
        case _:
            return None


def _merge(tree: exp.Merge) -> Change | None:
    on, whens = tree.args.get("on"), tree.args.get("whens")
    cases = [_case(when) for when in whens.expressions] if whens else []
    known = tuple(case for case in cases if case is not None)
    if on is None or not known or len(known) != len(cases):
        return None
    return Change("merge", (tree.args["using"].sql("duckdb"),), on.sql("duckdb"), (), known)


def _case(when: exp.Expr) -> _Case | None:
    then, condition = when.args.get("then"), when.args.get("condition")
    matched = "MATCHED" if when.args.get("matched") else "NOT MATCHED"
    words = f"WHEN {matched}{' BY SOURCE' if when.args.get('source') else ''}"
    written = condition.sql("duckdb") if condition else None
    match then:
        case exp.Var() if then.name.upper() in _THEN:
            return _Case(words, written, then.name.upper(), ())
        case exp.Update():
            return _update_case(words, written, then)
        case exp.Insert():
            return _insert_case(words, written, then)
        case _:
            return None


def _update_case(words: str, condition: str | None, then: exp.Update) -> _Case | None:
    if not then.expressions:
        return _Case(words, condition, "UPDATE", ())
    if isinstance(then.expressions[0], exp.Star):
        return _Case(words, condition, "UPDATE SET *", ())
    assigned = _assigned(then.expressions)
    if not assigned:
        return None
    return _Case(words, condition, f"UPDATE SET {_sets(assigned)}", tuple(value for _, value in assigned))


def _insert_case(words: str, condition: str | None, then: exp.Insert) -> _Case | None:
    columns, values = then.this, then.expression
    if isinstance(columns, exp.Star):
        return _Case(words, condition, "INSERT *", ())
    if not isinstance(values, exp.Tuple):
        return None
    names = [column.name for column in columns.expressions] if isinstance(columns, exp.Tuple) else []
    listed = f" ({', '.join(map(_quoted, names))})" if names else ""
    texts = _texts(values.expressions)
    written = ", ".join(f"(\n{text}\n)" for text in texts)
    return _Case(words, condition, f"INSERT{listed} VALUES ({written})", texts)


def _assigned(expressions: Sequence[exp.Expr]) -> tuple[tuple[str, str], ...]:
    """Columns and values of SET; empty if one is no plain column."""
    if not all(isinstance(item, exp.EQ) and isinstance(item.this, exp.Column) for item in expressions):
        return ()
    return tuple((item.this.name, item.expression.sql("duckdb")) for item in expressions)


def _case_text(case: _Case) -> str:
    condition = f" AND (\n{case.condition}\n)" if case.condition is not None else ""
    return f"{case.when}{condition} THEN {case.then}"


def _sets(assigned: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{_quoted(column)} = (\n{value}\n)" for column, value in assigned)


def _from(listed: str) -> str:
    return f" FROM {listed}" if listed else ""


def _texts(expressions: Sequence[exp.Expr]) -> tuple[str, ...]:
    return tuple(item.sql("duckdb") for item in expressions)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
