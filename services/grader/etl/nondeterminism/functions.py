"""What each SQL function may do to a value, by DuckDB's own catalog and a list for the aggregates.

Invariant: a function that is on no list here and not in the engine's catalog is unknown, never harmless.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

import duckdb
from sqlglot import exp

from services.grader.etl.nondeterminism.facts import CLOCKS, words

Nature = Literal["plain", "volatile", "aggregate", "unknown"]
Order = Literal["free", "drift", "pick", "extreme", "sequence", "approximate", "sampled"]
"""What the order of rows does to an aggregate: nothing; the last bits of a float; which row a value comes from; which
of the rows tied at an extreme; the value itself. The last two differ whatever the order is, or by chance."""

FREE = words(
    "count count_star count_if countif min max bool_and bool_or logical_and logical_or bit_and bit_or bit_xor "
    "bitstring_agg histogram histogram_exact median quantile quantile_cont quantile_disc percentile_cont "
    "percentile_disc mad sum_no_overflow regr_count"
)
DRIFT = words("sum avg mean")
"""Exact over integers and decimals; over floats each order of additions rounds in its own way."""
ALWAYS_DRIFT = words(
    "fsum kahan_sum sumkahan favg product stddev stddev_pop stddev_samp variance var_pop var_samp variance_pop sem "
    "corr covar_pop covar_samp skewness kurtosis kurtosis_pop entropy geomean geometric_mean wavg weighted_avg "
    "regr_avgx regr_avgy regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy"
)
"""Computed in DOUBLE whatever the type of their argument is."""
PICK = words("first last any_value arbitrary first_value last_value nth_value mode")
EXTREME = words(
    "arg_max arg_min argmax argmin max_by min_by arg_max_null arg_min_null arg_max_nulls_last arg_min_nulls_last"
)
SEQUENCE = words("list array_agg string_agg group_concat listagg json_group_array json_group_object")
APPROXIMATE = words("approx_count_distinct approx_distinct approx_quantile approx_top_k")
SAMPLED = frozenset(("reservoir_quantile",))
AGGREGATES = FREE | DRIFT | ALWAYS_DRIFT | PICK | EXTREME | SEQUENCE | APPROXIMATE | SAMPLED
NUMBERING = words("row_number ntile lag lead fill")
RANKING = words("rank dense_rank rank_dense percent_rank cume_dist")

STRUCTURE = (
    exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Extract, exp.Array, exp.Struct, exp.Map, exp.And, exp.Or, exp.Xor,
    exp.Interval, exp.Exists, exp.Explode, exp.ToMap, exp.VarMap, exp.Any, exp.All, exp.AtTimeZone,
    exp.TsOrDsAdd, exp.DateAdd, exp.DateSub, exp.TimestampAdd, exp.TimestampSub, exp.DateDiff, exp.JSONExtract,
    exp.JSONExtractScalar, exp.Concat, exp.DPipe, exp.Pow, exp.IntDiv, exp.RegexpLike, exp.Ceil,
    exp.Floor, exp.TimestampDiff, exp.Anonymous, exp.Date, exp.StrToTime, exp.StrToDate, exp.TimeToStr,
    exp.TimestampTrunc, exp.DateTrunc, exp.Substring, exp.Trim, exp.StrPosition, exp.Grouping, exp.GroupingId,
)  # fmt: skip
"""Parts of the language, and functions with a syntax of their own, that depend on their arguments only."""
VOLATILE = CLOCKS | words(
    "rand random uuid gen_random_uuid uuidv4 uuidv7 nextval currval setseed newid current_setting getvariable "
    "current_user session_user user current_role current_catalog version current_version pg_backend_pid "
    "current_timestamp_ltz sysdate systimestamp unix_timestamp utc_date utc_time utc_timestamp rowid stats "
    "in_search_path ago pg_postmaster_start_time pg_conf_load_time monotonically_increasing_id randn"
)
FROM_CATALOG = frozenset(("col_description", "format_type", "get_block_size", "pg_get_constraintdef", "pg_get_viewdef"))


@dataclass(frozen=True)
class Known:
    """What the engine's catalog says of a function of a name, over all that it may be called with."""

    stability: str
    """Empty for a macro."""
    types: frozenset[str]
    floats: bool
    """Whether it may make a FLOAT or DOUBLE of what is none."""


@cache
def _catalog() -> dict[str, Known]:
    ask = """SELECT function_name, max(coalesce(stability, '')), list(DISTINCT coalesce(return_type, '')), bool_or(
        return_type IN ('FLOAT', 'DOUBLE') AND NOT list_has_any(parameter_types, ['FLOAT', 'DOUBLE'])
        OR coalesce(macro_definition, '') SIMILAR TO '.*( / |ln\\(|avg\\(|exp\\().*') FROM duckdb_functions()
        WHERE function_type IN ('scalar', 'aggregate', 'macro') AND internal GROUP BY 1"""
    with duckdb.connect() as connection:
        found = connection.execute(ask).fetchall()
    return {name: Known(stability, frozenset(types), bool(floats)) for name, stability, types, floats in found}


def names_of(node: exp.Expr) -> tuple[str, ...]:
    """The names that a function's node may have had in the text, lower case."""
    if isinstance(node, exp.Anonymous):
        return (node.name.lower(),)
    if not isinstance(node, exp.Func):
        return (_snake(type(node).__name__),)
    rendered = re.match(r"(\w+)\(", node.sql("duckdb"))
    return tuple(name.lower() for name in (*((rendered[1],) if rendered else ()), *node.sql_names()))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def name_of(node: exp.Expr) -> str:
    """The name by which a function is known here, lower case."""
    names = names_of(node)
    known = [name for name in names if name in _catalog()] or [name for name in names if name in LISTED]
    return known[0] if known else names[0]


LISTED = AGGREGATES | NUMBERING | RANKING | VOLATILE


def nature_of(node: exp.Expr) -> Nature:
    """What kind of function a node is."""
    name = name_of(node)
    if name in AGGREGATES:
        return "aggregate"
    known = _catalog().get(name)
    stability = known.stability if known is not None else None
    if name in VOLATILE or name in FROM_CATALOG or stability in ("VOLATILE", "CONSISTENT_WITHIN_QUERY"):
        return "volatile"
    if name == "age" and len(list(node.iter_expressions())) == 1:
        return "volatile"
    if stability is not None:
        return "plain"
    return "plain" if isinstance(node, STRUCTURE) and not isinstance(node, exp.Anonymous) else "unknown"


def order_of(name: str) -> Order:
    """What the order of rows does to an aggregate of this name."""
    for names, order in _ORDERS:
        if name in names:
            return order
    return "sequence"


_ORDERS: tuple[tuple[frozenset[str], Order], ...] = (
    (FREE, "free"), (DRIFT | ALWAYS_DRIFT, "drift"), (PICK, "pick"), (EXTREME, "extreme"),
    (SEQUENCE, "sequence"), (APPROXIMATE, "approximate"), (SAMPLED, "sampled"),
)  # fmt: skip


def gives_float(name: str, over_floats: bool) -> bool:
    """Whether a function's result may be FLOAT or DOUBLE."""
    known = _catalog().get(name)
    if known is None:
        return over_floats
    if name in INTERPOLATED or known.floats or known.types <= {"DOUBLE", "FLOAT"}:
        return True
    return over_floats and bool(known.types & MAY_FLOAT)


INTERPOLATED = words("median quantile_cont percentile_cont mad")
"""Give a DOUBLE over integers."""
MAY_FLOAT = words("DOUBLE FLOAT ANY T V K T[] ANY[] DOUBLE[] FLOAT[]") | {""}
