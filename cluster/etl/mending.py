"""Where Databricks SQL and DuckDB write the same and mean different things: what is mended, and what is refused."""

from collections.abc import Callable

from sqlglot import exp

from services.grader.etl.increment import target_of

Mend = Callable[[exp.Expr], list[str]]
_UNITS = {"mm": "MONTH", "mon": "MONTH", "yy": "YEAR", "yyyy": "YEAR", "q": "QUARTER", "dd": "DAY"}
_OTHER_VALUES = {
    "hash": "it hashes otherwise",
    "xxhash64": "it hashes otherwise",
    "approx_count_distinct": "it approximates otherwise",
    "approx_percentile": "it approximates otherwise",
    "percentile_approx": "it approximates otherwise",
    "monotonically_increasing_id": "its numbers depend on the cluster",
    "spark_partition_id": "its numbers depend on the cluster",
    "input_file_name": "the files are others",
}
_BY_CLASS: dict[type[exp.Expr], str] = {
    exp.ApproxDistinct: "approx_count_distinct",
    exp.ApproxQuantile: "approx_percentile",
}
_NO_STATEMENT = (exp.Command, exp.Copy, exp.Set, exp.Declare, exp.Drop, exp.Alter, exp.Use)


def refusal_of(tree: exp.Expr) -> str | None:
    """Why a statement cannot be translated; None if it can."""
    said = " ".join(tree.sql(dialect="databricks").split())[:80]
    if isinstance(tree, _NO_STATEMENT):
        return f"{said} is no query and writes no rows"
    if target_of(tree) is None and not isinstance(tree, exp.Query):
        return f"{said} is no query and writes no table"
    for table in tree.find_all(exp.Table):
        if table.args.get("version") is not None or isinstance(table.args.get("alias"), exp.Parameter):
            return f"{table.sql(dialect='databricks')} reads a version of its own; the run's pins say which is read"
        if table.args.get("db") is not None and table.db.lower() in ("delta", "parquet", "csv", "json"):
            return f"{table.sql(dialect='databricks')} reads a path: give the table a name, and its path in the sources"
    return _other_values(tree) or _placeholder(tree)


def _other_values(tree: exp.Expr) -> str | None:
    for node in tree.find_all(exp.Func):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        reason = _OTHER_VALUES.get(_BY_CLASS.get(type(node), name))
        if reason is not None:
            return f"{node.sql(dialect='databricks')} gives other values on DuckDB: {reason}"
    return None


def _placeholder(tree: exp.Expr) -> str | None:
    found = tree.find(exp.Placeholder, exp.Parameter)
    return None if found is None else f"{found.sql(dialect='databricks')} has no value: give it as a parameter"


def _weekdays(tree: exp.Expr) -> list[str]:
    found = list(tree.find_all(exp.DayOfWeek))
    for node in found:
        node.replace(exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number(1))))
    return ["dayofweek counts from 1 (Sunday): 1 is added"] if found else []


def _division(tree: exp.Expr) -> list[str]:
    changed = False
    for node in tree.find_all(exp.Div):
        by = node.expression
        if isinstance(by, exp.Literal) and by.is_number and float(by.this) != 0:
            continue
        node.set("expression", exp.Nullif(this=by.copy(), expression=exp.Literal.number(0)))
        changed = True
    return ["a division by zero gives NULL: NULLIF(…, 0) is added"] if changed else []


def _patterns(tree: exp.Expr) -> list[str]:
    changed = False
    for node in list(tree.find_all(exp.Like, exp.ILike)):
        if isinstance(node.parent, exp.Escape) or "\\" not in node.expression.sql():
            continue
        node.replace(exp.Escape(this=node.copy(), expression=exp.Literal.string("\\")))
        changed = True
    return ["LIKE takes \\ for its escape: ESCAPE '\\' is added"] if changed else []


def _substrings(tree: exp.Expr) -> list[str]:
    found = [node for node in tree.find_all(exp.Substring) if node.args.get("start") == exp.Literal.number(0)]
    for node in found:
        node.set("start", exp.Literal.number(1))
    return ["substring from 0 is from 1"] if found else []


def _null_tests(tree: exp.Expr) -> list[str]:
    changes = []
    for node in list(tree.find_all(exp.Anonymous)):
        name = node.name.lower()
        if name in ("isnull", "isnotnull") and len(node.expressions) == 1:
            test: exp.Expr = exp.Is(this=node.expressions[0].copy(), expression=exp.Null())
            node.replace(exp.paren(exp.Not(this=test) if name == "isnotnull" else test))
            changes.append(f"{name}(…) is written IS {'NOT ' if name == 'isnotnull' else ''}NULL")
    return changes


def _truncations(tree: exp.Expr) -> list[str]:
    changes = []
    for node in tree.find_all(exp.DateTrunc, exp.TimestampTrunc):
        unit = node.args.get("unit")
        name = unit.name.lower() if unit is not None else ""
        if name in _UNITS:
            node.set(
                "unit", exp.Literal.string(_UNITS[name]) if isinstance(unit, exp.Literal) else exp.var(_UNITS[name])
            )
            changes.append(f"the unit {name.upper()} is written {_UNITS[name]}")
    return changes


def _days(tree: exp.Expr) -> list[str]:
    """TRUNC gives a date there, and a timestamp here."""
    found = list(tree.find_all(exp.DateTrunc))
    for node in found:
        node.replace(exp.cast(node.copy(), "DATE"))
    return ["trunc gives a date: CAST(… AS DATE) is added"] if found else []


def _assignments(tree: exp.Expr) -> list[str]:
    """DuckDB takes no table's name before a column that is set."""
    changed = False
    for update in tree.find_all(exp.Update):
        for assignment in update.expressions:
            if isinstance(assignment, exp.EQ) and isinstance(assignment.this, exp.Column) and assignment.this.table:
                assignment.this.set("table", None)
                changed = True
    return ["columns that are set are written without their table"] if changed else []


MENDS: tuple[Mend, ...] = (
    _weekdays, _division, _patterns, _substrings, _null_tests, _truncations, _days, _assignments,
)  # fmt: skip
