"""Databricks SQL that cannot be had on DuckDB, and why: no rows, other values, or not a text of its own."""

import re

from sqlglot import exp

from services.grader.etl.increment import target_of

_OTHER_VALUES = {
    "hash": "it hashes otherwise",
    "xxhash64": "it hashes otherwise",
    "approx_count_distinct": "it approximates otherwise",
    "approx_percentile": "it approximates otherwise",
    "percentile_approx": "it approximates otherwise",
    "monotonically_increasing_id": "its numbers depend on the cluster",
    "spark_partition_id": "its numbers depend on the cluster",
    "input_file_name": "the files are others",
    "date_part": "its parts are counted otherwise: write EXTRACT",
    "skewness": "it corrects for the sample, and there it does not",
    "kurtosis": "it corrects for the sample, and there it does not",
    "array_distinct": "it gives another order",
    "typeof": "types have other names",
}
_BY_CLASS: dict[type[exp.Expr], str] = {
    exp.ApproxDistinct: "approx_count_distinct",
    exp.ApproxQuantile: "approx_percentile",
    exp.ArrayDistinct: "array_distinct",
}
_NO_STATEMENT = (exp.Command, exp.Copy, exp.Set, exp.Declare, exp.Drop, exp.Alter, exp.Use)
_PATHS = ("delta", "parquet", "csv", "json", "text", "orc", "avro")
_SPECIFIER = re.compile(r"%-?[A-Za-z](?:strict)?")


def refusal_of(tree: exp.Expr) -> str | None:
    """Why a statement cannot be translated; None if it can."""
    said = " ".join(tree.sql(dialect="databricks").split())[:80]
    if isinstance(tree, _NO_STATEMENT):
        return f"{said} is no query and writes no rows"
    if target_of(tree) is None and not isinstance(tree, exp.Query):
        return f"{said} is no query and writes no table"
    return _own_version(tree) or _other_values(tree) or _format(tree) or _placeholder(tree)


def _own_version(tree: exp.Expr) -> str | None:
    for table in tree.find_all(exp.Table):
        if table.args.get("version") is not None or isinstance(table.args.get("alias"), exp.Parameter):
            return f"{table.sql(dialect='databricks')} reads a version of its own; the run's pins say which is read"
        if table.args.get("db") is not None and table.db.lower() in _PATHS and "/" in table.name:
            return f"{table.sql(dialect='databricks')} reads a path: give the table a name, and its path in the sources"
    return None


def _other_values(tree: exp.Expr) -> str | None:
    for node in tree.find_all(exp.Func):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        by_class: type[exp.Expr] = type(node)
        reason = _OTHER_VALUES.get(_BY_CLASS.get(by_class, name))
        if reason is not None:
            return f"{node.sql(dialect='databricks')} gives other values on DuckDB: {reason}"
    return None


def _format(tree: exp.Expr) -> str | None:
    """A letter of a date's pattern that sqlglot does not know stays as it is, and would be taken for text."""
    for node in tree.find_all(exp.TimeToStr, exp.StrToTime, exp.StrToUnix, exp.UnixToStr, exp.TsOrDsToDate):
        pattern = node.args.get("format")
        if isinstance(pattern, exp.Literal) and re.search("[A-Za-z']", _SPECIFIER.sub("", pattern.this)):
            return f"the pattern in {node.sql(dialect='databricks')} has letters that DuckDB does not know"
    return None


def _placeholder(tree: exp.Expr) -> str | None:
    found = tree.find(exp.Placeholder, exp.Parameter)
    return None if found is None else f"{found.sql(dialect='databricks')} has no value: give it as a parameter"
