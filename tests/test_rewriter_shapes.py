"""The rules on statements that are near to what they look for: whatever is offered there gives the same bag too."""

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings

from cluster.etl.builtin.domain import NOTHING_DECLARED, Col, JobSpec, TableSpec, one_of
from services.contracts.etl import Contract, DependencyClause, FormatClause, KeyClause, NotNullClause
from services.policy.rewriter.candidates import candidates
from tests.random_tables import Bags, tables_of

QUICK = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
MOST_EDITS = 16


def _col(name: str, type_: str, pool: tuple[str, ...] = ()) -> Col:
    return Col(name, type_, "NULL", pool)


T = TableSpec(
    "t",
    0,
    (
        _col("k", "BIGINT"),
        _col("d", "DATE"),
        _col("m", "TIMESTAMP"),
        _col("s", "VARCHAR", one_of("a b ab")),
        _col("v", "DECIMAL(10,2)"),
        _col("n", "BIGINT"),
    ),
)
U = TableSpec(
    "u",
    0,
    (
        _col("k", "BIGINT"),
        _col("s", "VARCHAR", one_of("a b ab 1 2")),
        _col("d", "DATE"),
        _col("e", "DATE"),
        _col("w", "BIGINT"),
        _col("day", "VARCHAR", one_of("2024-02-29 2024-03-01 2024-12-31")),
    ),
)
FULL = Contract(
    keys=(KeyClause(table="t", columns=("k", "d")), KeyClause(table="u", columns=("k",))),
    not_null=(NotNullClause(table="t", column="n"),),
    formats=(
        FormatClause(table="t", column="s", pattern="[a-z]+"),
        FormatClause(table="u", column="day", pattern=r"\d{4}-\d{2}-\d{2}"),
    ),
    dependencies=(DependencyClause(table="t", determines=("n",), dependent=("s",)),),
)
DAYS = Contract(keys=(KeyClause(table="u", columns=("d",)), KeyClause(table="t", columns=("n",))))
CONTRACTS = {"full": FULL, "days": DAYS, "none": NOTHING_DECLARED}

SHAPES = (
    "SELECT t.n, u.w FROM t JOIN u ON t.k = u.k OR t.s = u.s OR t.d = u.d",
    "SELECT count(*) AS c, sum(t.v) AS v FROM t JOIN u ON (t.k = u.k OR t.s = u.s) AND u.w > 0",
    "SELECT t.s, u.s AS o FROM t JOIN u ON t.k = u.k AND u.w = 1 OR t.s = u.s AND t.n = 2 WHERE t.v > 0 OR u.w > 1",
    "SELECT DISTINCT t.s FROM t JOIN u ON t.k = u.k OR t.n = u.w ORDER BY t.s",
    "SELECT n FROM t WHERE year(d) = 2024 AND month(d) = 3 AND month(m) = 3",
    "SELECT n FROM t WHERE extract(year FROM m) = 2024 OR k = 1",
    "SELECT n FROM t WHERE date_part('year', m) = 2024 AND date_part('month', m) = 12 AND s = 'a'",
    "SELECT n FROM t WHERE strftime(m, '%Y-%m') = '2024-03' AND strftime(d, '%Y') = '2024'",
    "SELECT n FROM t WHERE strftime(d, '%Y-%m-%d') = '2024-02-29' AND NOT (k = 1)",
    "SELECT t.n FROM t LEFT JOIN u ON u.k = t.k AND year(u.d) = 2024 WHERE month(t.m) = 3 AND year(t.m) = 2024",
    "SELECT k FROM u WHERE strptime(day, '%Y-%m-%d') BETWEEN TIMESTAMP '2024-03-01' AND TIMESTAMP '2024-12-31'",
    "SELECT k FROM u WHERE CAST(day AS DATE) <= DATE '2024-03-01' OR DATE '2024-12-31' = CAST(day AS DATE)",
    "SELECT k, strptime(day, '%Y-%m-%d') AS at FROM u WHERE strptime(day, '%Y-%m-%d') <> TIMESTAMP '2024-03-01 "
    "10:00:00'",
    "SELECT upper(trim(s)) AS s, lower(trim(s)) AS l, count(*) AS c FROM t GROUP BY upper(trim(s)), lower(trim(s))",
    "SELECT t.n FROM t LEFT JOIN u ON lower(t.s) = lower(u.s)",
    "SELECT t.n, u.w FROM t JOIN u ON CAST(t.k AS VARCHAR) = CAST(u.w AS VARCHAR)",
    "SELECT t.n FROM t JOIN u ON CAST(t.d AS VARCHAR) = CAST(u.e AS VARCHAR) AND CAST(t.k AS VARCHAR) = u.s",
    "SELECT n, regexp_matches(s, '^a') AS a, regexp_matches(s, 'b$') AS b, regexp_matches(s, '^ab$') AS c FROM t",
    "SELECT n FROM t WHERE NOT regexp_matches(s, 'b')",
    "SELECT DISTINCT t.k, t.d, t.s, u.w FROM t LEFT JOIN u ON u.k = t.k",
    "SELECT DISTINCT t.k, t.d, u.s FROM t JOIN u ON u.d = t.d",
    "SELECT DISTINCT x.k, x.d FROM (SELECT k, d, s FROM t WHERE v > 0) x JOIN u ON u.k = x.k AND u.w > x.k",
    "SELECT DISTINCT s, count(*) AS c FROM t GROUP BY s",
    "SELECT DISTINCT s, max(v) AS v FROM t GROUP BY s, k",
    "SELECT 1 AS b, k, d FROM t UNION SELECT 2, k, d FROM u",
    "SELECT 'x' AS b, k, d FROM t UNION SELECT 'y', k, d FROM t WHERE v > 1 UNION SELECT 'z', k, e FROM u",
    "SELECT 1 AS b, k FROM u UNION SELECT 1, k FROM u",
    "SELECT 1 AS b, k FROM u UNION ALL SELECT 1, k FROM u UNION SELECT 2, k FROM u",
    "SELECT s, sum(v) AS v FROM (SELECT s, v FROM t ORDER BY d) GROUP BY s",
    "WITH o AS (SELECT k, v FROM t ORDER BY v DESC) SELECT o.k, u.w, max(o.v) AS v FROM o LEFT JOIN u USING (k) "
    "GROUP BY ALL",
    "SELECT t.n, t.v FROM t LEFT JOIN u ON u.k = t.k LEFT JOIN u w ON w.k = t.n WHERE t.v > 0",
    "SELECT count(*) AS c FROM t LEFT JOIN u ON u.k = t.k AND u.w = t.n",
    "SELECT a.n FROM t a LEFT JOIN u ON u.k = a.k LEFT JOIN u z ON z.k = u.w",
    "SELECT a.k, a.d, sum(b.v) AS v, count(*) AS c, max(b.s) AS s FROM t a JOIN t b ON a.k = b.k AND a.d >= b.d "
    "GROUP BY a.k, a.d",
    "SELECT a.n, a.k + 1 AS k, count(b.v) AS c FROM t a JOIN t b ON a.k = b.k AND b.n >= a.n GROUP BY a.n, a.k",
    "SELECT a.k, a.d, avg(b.n) AS v FROM t a LEFT JOIN t b ON a.k = b.k AND b.d < a.d GROUP BY a.k, a.d",
    "SELECT a.k, a.n, (SELECT sum(b.v) FROM t b WHERE b.k = a.k AND b.d <= a.d AND b.s = 'a') AS v FROM t a",
    "SELECT a.n, (SELECT count(*) FROM t b WHERE b.n <= a.n AND b.n = a.n) + 1 AS c FROM t a ORDER BY a.n LIMIT 3",
    "SELECT a.k, a.d, (SELECT max(b.v) FROM t b WHERE b.k = a.k AND a.d <= b.d) AS v FROM t a",
    "SELECT a.n, a.s FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.k = a.k AND b.d > a.d) AND a.v > 0",
    "SELECT a.n FROM t a WHERE NOT EXISTS (SELECT 1 FROM t b WHERE a.s = b.s AND b.k = a.k AND a.m > b.m AND b.v > 1)",
    "SELECT a.s, u.w FROM t a JOIN u ON u.k = a.k WHERE EXISTS (SELECT * FROM t b WHERE b.s = a.s AND b.d < a.d) OR "
    "u.w = 1",
    "SELECT u.k, count(DISTINCT t.n) AS a, count(DISTINCT x.s) AS b, max(x.v) AS v FROM u LEFT JOIN t ON t.k = u.k "
    "LEFT JOIN t x ON x.d = u.d GROUP BY u.k",
    "SELECT u.s, count(DISTINCT t.n) AS a, min(t.v) AS v FROM u LEFT JOIN t ON t.k = u.k GROUP BY u.s",
    "SELECT u.k, count(DISTINCT t.n) AS a, max(x.v) AS v FROM u LEFT JOIN t ON t.k = u.k LEFT JOIN t x ON x.k = t.n "
    "GROUP BY u.k",
    "SELECT s, len(list(v)) AS c, list_sum(list(k)) AS k, list_max(list(v ORDER BY d)) AS m, list_min(list(n)) AS n "
    "FROM t GROUP BY s",
    "SELECT k, len(list_distinct(list(s))) AS c, array_length(list(s)) AS l FROM t GROUP BY k HAVING len(list(s)) > 1",
    "SELECT x.k, unnest(x.vs) AS v FROM (SELECT k, list(v) AS vs FROM t WHERE n > 0 GROUP BY k) x WHERE x.k > 0",
    "SELECT k, unnest(vs) + 1 AS v, s FROM (SELECT k, s, list(n) AS vs FROM t GROUP BY k, s)",
    "SELECT k, sum(CASE WHEN s = 'a' THEN v END) AS a, sum(CASE WHEN s = 'b' THEN v ELSE 0 END) AS b, "
    "count(CASE WHEN s = 'ab' THEN n END) AS c, max(CASE WHEN s IS NULL THEN n END) AS m, count(*) AS r, sum(n) + k "
    "AS n, "
    "sum(CASE WHEN s <> 'a' OR s IS NULL THEN 1 ELSE 0 END) AS o FROM t GROUP BY k HAVING count(*) > 0 ORDER BY k",
    "SELECT coalesce(s, 'no') AS s, count(*) FILTER (WHERE k = 1) AS a, sum(v) FILTER (WHERE k = 2) AS b, "
    "min(d) FILTER (WHERE k > 0) AS c, count(v) FILTER (WHERE k IS NULL) AS e FROM t GROUP BY coalesce(s, 'no')",
    "SELECT n, s, k, count(*) AS c, sum(v) AS v FROM t GROUP BY n, s, k HAVING s <> 'a' ORDER BY s",
    "SELECT t.k, u.s, u.w, upper(u.s) AS x, min(t.v) AS v FROM t LEFT JOIN u ON u.k = t.k GROUP BY t.k, u.k, u.s, u.w",
    "SELECT u.k, u.s, u.d, sum(t.v) AS v FROM u JOIN t ON t.k = u.k GROUP BY u.k, u.s, u.d",
    "SELECT u.k, (SELECT count(*) FROM t WHERE t.k = u.k) AS a, (SELECT sum(v) FROM t WHERE u.k = t.k AND n > 0) AS b, "
    "(SELECT count(DISTINCT s) FROM t x WHERE x.k = u.k) + 1 AS c FROM u WHERE u.w > 0",
    "SELECT u.s FROM u WHERE (SELECT count(*) FROM t WHERE t.s = u.s) > (SELECT coalesce(max(n), 0) FROM t WHERE t.s "
    "= u.s)",
    "SELECT DISTINCT k, s, sum(v) OVER (PARTITION BY k, s) AS v, count(*) OVER (PARTITION BY k, s) AS c FROM t WHERE "
    "n > 0",
    "SELECT DISTINCT k, max(v) OVER (PARTITION BY k, s) - min(v) OVER (PARTITION BY k, s) AS v FROM t",
    "SELECT u.s, count(*) AS c, sum(t.v) AS v, max(t.n) AS n FROM t JOIN u ON u.k = t.k WHERE t.n > 0 AND u.w > 0 "
    "GROUP BY u.s",
    "SELECT u.s, t.s AS x, count(t.v) AS c FROM t LEFT JOIN u ON u.k = t.k AND t.n > u.w GROUP BY u.s, t.s",
    "SELECT t.n, (SELECT u.w FROM u WHERE u.d <= t.d ORDER BY u.d DESC LIMIT 1) AS w FROM t",
    "SELECT t.n, (SELECT x.v FROM t x WHERE x.k = t.k AND x.d <= t.d ORDER BY x.d DESC LIMIT 1) AS v FROM t WHERE "
    "t.v > 0",
    "SELECT u.d, count(*) AS c, count(x.w) AS n, sum(x.w) AS w FROM u JOIN u x ON u.d BETWEEN x.d AND x.e GROUP BY u.d",
    "SELECT u.d, sum(x.n) - 1 AS w FROM t x JOIN u ON u.d >= x.d AND x.d > u.d GROUP BY u.d",
    "SELECT u.d, count(*) AS c FROM u JOIN u x ON x.d <= u.d AND u.d < x.e GROUP BY u.d",
    "SELECT * FROM (SELECT k, d, v, row_number() OVER (PARTITION BY k, d ORDER BY n, v, m, s) AS r FROM t) WHERE r = "
    "1 AND k = 1",
    "SELECT * FROM (SELECT t.k, t.n, u.s, rank() OVER (PARTITION BY t.k ORDER BY t.n) AS r FROM t JOIN u ON u.k = "
    "t.k) x "
    "WHERE x.s = 'a' AND x.r < 3",
    "WITH w AS (SELECT k, s, max(v) OVER (PARTITION BY k) AS v FROM t) SELECT a.k, b.v FROM w a JOIN w b ON a.k = "
    "b.k WHERE a.k = 1",
    "SELECT x.k, x.c FROM u LEFT JOIN (SELECT k, count(*) OVER (PARTITION BY k) AS c FROM t) x ON x.k = u.k WHERE "
    "x.k IS NULL",
    "SELECT n, CASE k WHEN 0 THEN 'a' WHEN 1 THEN 'b' WHEN 2 THEN 'c' WHEN 1 THEN 'd' WHEN 4 THEN 'e' WHEN 5 THEN "
    "'f' WHEN 6 "
    "THEN 'g' WHEN 7 THEN 'h' WHEN 8 THEN 'i' WHEN 9 THEN 'j' WHEN 10 THEN 'k' WHEN 11 THEN 'l' WHEN 12 THEN 'm' END "
    "AS c, "
    "count(*) AS r FROM t GROUP BY ALL",
)


def spec_of(sql: str) -> JobSpec:
    statements = (f"CREATE TABLE result AS {sql}",)
    return JobSpec("shape", "", statements, (T, U), statements)


@cache
def rewrites_of(sql: str, contract: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    spec = spec_of(sql)
    schema = {table.name: {column.name: column.type for column in table.columns} for table in spec.tables}
    found: dict[tuple[str, ...], str] = {}
    waiting = [spec.statements]
    while waiting and len(found) < MOST_EDITS:
        for edit in candidates(waiting.pop(0), CONTRACTS[contract], schema):
            if edit.statements not in found:
                found[edit.statements] = f"{edit.rule} at {edit.place}"
                waiting.append(edit.statements)
    return tuple((chain, statements) for statements, chain in found.items())


def hold(sql: str, contract: str, terms: settings) -> None:
    spec, rewrites = spec_of(sql), rewrites_of(sql, contract)

    @terms
    @given(tables_of(spec.tables, CONTRACTS[contract]))
    def holds(tables: dict[str, list[tuple[str, ...]]]) -> None:
        with Bags(spec, tables) as bags:
            bags.fill("wanted", spec.statements)
            for chain, statements in rewrites:
                bags.fill("got", statements)
                assert bags.same("wanted", "got"), (chain, statements, bags.rows("wanted"), bags.rows("got"))
                bags.drop("got")

    if rewrites:
        holds()


@pytest.mark.parametrize("contract", ["full", "none"])
@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_what_is_offered_gives_the_same_bag(number: int, contract: str) -> None:
    hold(SHAPES[number], contract, QUICK)


@pytest.mark.soak
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_what_is_offered_gives_the_same_bag_over_many_tables(number: int, contract: str) -> None:
    hold(SHAPES[number], contract, LONG)


def test_the_shapes_meet_every_rule() -> None:
    from services.policy.rewriter.rules import RULES

    met = {
        chain.partition(" ")[0] for sql in SHAPES for contract in CONTRACTS for chain, _ in rewrites_of(sql, contract)
    }
    assert met == set(RULES)
