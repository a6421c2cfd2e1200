"""Where Databricks SQL and DuckDB write the same and mean different things: what is mended, and how it is said."""

from collections.abc import Callable

from sqlglot import exp

from cluster.etl.kinds import Kinds, kind_of

Mend = Callable[[exp.Expr, Kinds], list[str]]
_UNITS = {"mm": "MONTH", "mon": "MONTH", "yy": "YEAR", "yyyy": "YEAR", "q": "QUARTER", "dd": "DAY"}
_DAYS = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")


def _weekdays(tree: exp.Expr, kinds: Kinds) -> list[str]:
    """Sunday is 1 in dayofweek and EXTRACT, Monday is 0 in weekday."""
    changes = []
    for node in reversed(list(tree.find_all(exp.DayOfWeek, exp.Extract))):
        if isinstance(node, exp.DayOfWeek) or node.name.upper() in ("DOW", "DAYOFWEEK"):
            node.replace(exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number(1))))
            changes.append("dayofweek counts from 1 (Sunday): 1 is added")
    for node in list(tree.find_all(exp.Anonymous)):
        if node.name.lower() == "weekday" and len(node.expressions) == 1:
            day = exp.Anonymous(this="ISODOW", expressions=[node.expressions[0].copy()])
            node.replace(exp.paren(exp.Sub(this=day, expression=exp.Literal.number(1))))
            changes.append("weekday counts from 0 (Monday): it is written ISODOW(…) - 1")
    return changes


def _division(tree: exp.Expr, kinds: Kinds) -> list[str]:
    changed = False
    for node in tree.find_all(exp.Div):
        by = node.expression
        if isinstance(by, exp.Literal) and by.is_number and float(by.this) != 0:
            continue
        node.set("expression", exp.Nullif(this=by.copy(), expression=exp.Literal.number(0)))
        changed = True
    return ["a division by zero gives NULL: NULLIF(…, 0) is added"] if changed else []


def _patterns(tree: exp.Expr, kinds: Kinds) -> list[str]:
    changed = False
    for node in list(tree.find_all(exp.Like, exp.ILike)):
        if isinstance(node.parent, exp.Escape) or "\\" not in node.expression.sql():
            continue
        node.replace(exp.Escape(this=node.copy(), expression=exp.Literal.string("\\")))
        changed = True
    return ["LIKE takes \\ for its escape: ESCAPE '\\' is added"] if changed else []


def _substrings(tree: exp.Expr, kinds: Kinds) -> list[str]:
    found = [node for node in tree.find_all(exp.Substring) if node.args.get("start") == exp.Literal.number(0)]
    for node in found:
        node.set("start", exp.Literal.number(1))
    return ["substring from 0 is from 1"] if found else []


def _null_tests(tree: exp.Expr, kinds: Kinds) -> list[str]:
    changes = []
    for node in list(tree.find_all(exp.Anonymous)):
        name = node.name.lower()
        if name in ("isnull", "isnotnull") and len(node.expressions) == 1:
            test: exp.Expr = exp.Is(this=node.expressions[0].copy(), expression=exp.Null())
            node.replace(exp.paren(exp.Not(this=test) if name == "isnotnull" else test))
            changes.append(f"{name}(…) is written IS {'NOT ' if name == 'isnotnull' else ''}NULL")
    return changes


def _truncations(tree: exp.Expr, kinds: Kinds) -> list[str]:
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


def _dates(tree: exp.Expr, kinds: Kinds) -> list[str]:
    """TRUNC, DATE_ADD and a date with an interval of days give a date there, and a timestamp here."""
    found = [node for node in tree.find_all(exp.DateTrunc, exp.TsOrDsAdd, exp.Add, exp.Sub) if _is_date(node, kinds)]
    for node in reversed(found):
        node.replace(exp.cast(node.copy(), "DATE"))
    return ["a date with days added, or cut off, is a date: CAST(… AS DATE) is added"] if found else []


def _is_date(node: exp.Expr, kinds: Kinds) -> bool:
    if isinstance(node, exp.DateTrunc | exp.TsOrDsAdd):
        return True
    span = node.args.get("expression")
    days = isinstance(span, exp.Interval) and str(span.args.get("unit") or "").upper().rstrip("S") in _DAYS
    return days and kind_of(node.this, kinds) == "date"


def _casts(tree: exp.Expr, kinds: Kinds) -> list[str]:
    """A fraction loses its end there and is rounded here; an instant is written with its zone here."""
    changes = []
    for node in reversed(list(tree.find_all(exp.Cast))):
        kind = kind_of(node.this, kinds)
        if kind == "fraction" and node.to.this in exp.DataType.INTEGER_TYPES:
            node.set("this", exp.Anonymous(this="TRUNC", expressions=[node.this.copy()]))
            changes.append("a fraction that is cast to a whole number loses its end: TRUNC is added")
        if kind == "instant" and node.to.this in exp.DataType.TEXT_TYPES:
            node.set("this", exp.cast(node.this.copy(), exp.DataType.build("TIMESTAMP", dialect="duckdb")))
            changes.append("a time that is cast to text is written without its zone: CAST(… AS TIMESTAMP) is added")
    return changes


def _percentiles(tree: exp.Expr, kinds: Kinds) -> list[str]:
    found = list(tree.find_all(exp.Quantile))
    for node in reversed(found):
        node.replace(exp.Anonymous(this="QUANTILE_CONT", expressions=[node.this.copy(), node.args["quantile"].copy()]))
    return ["percentile is between two values: it is written QUANTILE_CONT"] if found else []


def _spans(tree: exp.Expr, kinds: Kinds) -> list[str]:
    """Whole units that have gone by there, ends of units that lie between here."""
    found = [node for node in tree.find_all(exp.TimestampDiff, exp.DateDiff) if _counts_wholes(node)]
    for node in reversed(found):
        unit = exp.Literal.string(node.args["unit"].name.lower())
        parts = [unit, node.expression.copy(), node.this.copy()]
        node.replace(exp.Anonymous(this="DATE_SUB", expressions=parts))
    return ["a difference counts whole units: it is written DATE_SUB"] if found else []


def _counts_wholes(node: exp.Expr) -> bool:
    unit = node.args.get("unit")
    return unit is not None and (isinstance(node, exp.TimestampDiff) or unit.name.upper() != "DAY")


def _json_paths(tree: exp.Expr, kinds: Kinds) -> list[str]:
    found = [node for node in tree.find_all(exp.JSONExtract) if node.args.get("variant_extract")]
    for node in reversed(found):
        node.replace(exp.JSONExtractScalar(this=node.this.copy(), expression=node.expression.copy()))
    return ["a path into JSON gives text: it is written ->>"] if found else []


def _seconds(tree: exp.Expr, kinds: Kinds) -> list[str]:
    found = list(tree.find_all(exp.StrToUnix))
    for node in reversed(found):
        node.replace(exp.cast(node.copy(), "BIGINT"))
    return ["unix_timestamp gives a whole number: CAST(… AS BIGINT) is added"] if found else []


def _assignments(tree: exp.Expr, kinds: Kinds) -> list[str]:
    """DuckDB takes no table's name before a column that is set."""
    changed = False
    for update in tree.find_all(exp.Update):
        for assignment in update.expressions:
            if isinstance(assignment, exp.EQ) and isinstance(assignment.this, exp.Column) and assignment.this.table:
                assignment.this.set("table", None)
                changed = True
    return ["columns that are set are written without their table"] if changed else []


MENDS: tuple[Mend, ...] = (
    _casts, _dates, _weekdays, _division, _patterns, _substrings, _null_tests, _truncations, _percentiles, _spans,
    _json_paths, _seconds, _assignments,
)  # fmt: skip
