"""Statements from a grammar, whole or mangled, end in a typed outcome, and kept results are those of a new pool."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import duckdb
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.contracts.cells import cell_text
from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError, StatementOutcome
from services.sandbox.cache import is_lasting
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = SandboxLimits(statement_s=2.0, children=1, max_rows=500, max_bytes=100_000)
TABLES = {
    "people": ("id", "name", "born", "score", "tags"),
    "visits": ("id", "person", "at_time", "cost", "note"),
}
SETUP = """\
CREATE TABLE people (id INTEGER, name VARCHAR, born DATE, score DOUBLE, tags VARCHAR[]);
INSERT INTO people SELECT i, CASE WHEN i % 5 > 0 THEN chr(65 + i::INTEGER) || 'é' END,
    DATE '1990-02-27' + i::INTEGER, i / 3, CASE WHEN i % 2 = 0 THEN ['a', 'b' || i] END FROM range(9) r(i);
CREATE TABLE visits (id BIGINT, person INTEGER, at_time TIMESTAMP, cost DECIMAL(8, 2), note VARCHAR);
INSERT INTO visits SELECT i, i % 6, TIMESTAMP '2024-02-28 23:00:00' + INTERVAL (i) HOUR, (i * 7 % 11) / 4,
    CASE i % 3 WHEN 0 THEN '' WHEN 1 THEN '{"k": [' || i || ']}' END FROM range(12) r(i);
"""
EXAMPLES = 120
PACE = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

literals = st.one_of(
    st.integers(-3, 12).map(str),
    st.sampled_from(["NULL", "''", "'a'", "'%a%'", "'it''s'", "1.50", "1e3", "true", "9223372036854775807", "'é;--'"]),
    st.sampled_from(["DATE '2024-02-29'", "INTERVAL 1 MONTH", "[1, 2]", "{'a': 1}", "MAP {'k': 2}", "'nan'::DOUBLE"]),
)
columns = st.sampled_from([column for names in TABLES.values() for column in names])
WORDS = {
    "functions": "upper length abs round year list_sum typeof lower ln to_json hash isnan monthname md5",
    "pairs": "|| + - * / % = <> < >= LIKE ILIKE AND OR // -> ->> ^@ &",
    "aggregates": "sum count avg min max list string_agg median any_value stddev_pop arg_min bool_or",
    "types": "INTEGER VARCHAR DATE DOUBLE DECIMAL(6,1) TIMESTAMP BOOLEAN JSON INTERVAL VARCHAR[] TIMESTAMPTZ TIME",
    "junk": """( ) [ ] { } , ; ' " $$ -- /* */ . :: := => -> + - * SELECT FROM WHERE GROUP BY ALL ORDER LIMIT WITH AS
        RECURSIVE JOIN USING ON PIVOT UNPIVOT IN OVER PARTITION QUALIFY UNION VALUES CASE END CAST INSERT UPDATE DROP
        ATTACH COPY SET PRAGMA EXPLAIN DESCRIBE BEGIN 1 1e999 0x 'x' "id" id people visits db main system getenv
        duckdb_settings() read_csv '/etc/passwd' sqlite_master information_schema.tables query random() now() $1 ?
        current_setting('threads') \u00e9 \u202e \0""",
}
FUNCTIONS, PAIRS, AGGREGATES, TYPES, JUNK = (
    st.sampled_from(WORDS[kind].split()) for kind in ("functions", "pairs", "aggregates", "types", "junk")
)


@st.composite
def calls(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """An expression made of others."""
    one, two, three = draw(inner), draw(inner), draw(inner)
    forms = [
        f"({one} {draw(PAIRS)} {two})",
        f"{draw(FUNCTIONS)}({one})",
        f"{draw(AGGREGATES)}({one})",
        f"{draw(AGGREGATES)}({one}) OVER (PARTITION BY {two} ORDER BY {three})",
        f"CASE WHEN {one} THEN {two} ELSE {three} END",
        f"TRY_CAST({one} AS {draw(TYPES)})",
        f"({one} IN ({two}, {three}))",
        f"({one} IS NOT NULL)",
        f"({one} BETWEEN {two} AND {three})",
        f"[{one}, {two}]",
        f"{{'a': {one}, 'b': {two}}}",
        f"list_transform([{one}], x -> x)",
        f"{draw(columns)}.{draw(FUNCTIONS)}()",
        f"(SELECT {draw(AGGREGATES)}({one}) FROM {draw(st.sampled_from(sorted(TABLES)))})",
        f"EXISTS (FROM visits WHERE {one})",
        f"coalesce({one}, {two})",
    ]
    return draw(st.sampled_from(forms))


expressions = st.recursive(st.one_of(literals, columns, columns), calls, max_leaves=6)
JOINS = [
    "people JOIN visits USING (id)",
    "people LEFT JOIN visits USING (id)",
    "(FROM people JOIN visits USING (id) LIMIT 5) AS five",
    "people p FULL JOIN visits v USING (id)",
    "people, LATERAL (SELECT * EXCLUDE (id) FROM visits WHERE person = people.id)",
    "visits",
    "people SEMI JOIN visits ON people.id = person",
    "range(5) r(id)",
    "(VALUES (1, 'x'), (NULL, '')) AS w(id, name)",
    "people, unnest(tags) AS u(tag)",
    "visits ASOF JOIN people ON visits.id >= people.id",
]


FULL = [join for join in JOINS if "visits" in join and "people" in join and "SEMI" not in join]
"""Those with every column of both tables."""


@st.composite
def wild_selects(draw: st.DrawFn) -> str:
    """One SELECT of anything."""
    outputs = draw(st.lists(st.one_of(expressions, st.just("*"), columns), min_size=1, max_size=3))
    condition = f"WHERE {draw(expressions)} " if draw(st.booleans()) else ""
    group = draw(st.sampled_from(["", "GROUP BY ALL", "GROUP BY ROLLUP (id, name)", "QUALIFY id > 1"]))
    return f"SELECT {', '.join(outputs)} FROM {draw(st.sampled_from(JOINS))} {condition}{group}".strip()


def filled(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The form with its marks filled."""
    return st.tuples(*parts).map(lambda drawn: form.format(*drawn))


texts = st.sampled_from(
    [
        "name",
        "note",
        "upper(name)",
        "name || note",
        "CASE WHEN json_valid(note) THEN note->>'k' END",
        "name.lower()",
        "left(name, 1)",
        "''",
    ]
)
numbers = st.recursive(
    st.sampled_from(["id", "cost", "score", "person", "2", "1.50", "length(name)", "len(tags)", "year(born)"]),
    lambda inner: st.one_of(
        filled("({} {} {})", inner, st.sampled_from("+-*/%"), inner),
        filled("round(coalesce({}, {}), 1)", inner, inner),
        filled("CASE WHEN {} > {} THEN {} END", inner, inner, inner),
    ),
    max_leaves=4,
)
times = st.sampled_from(
    [
        *("born", "at_time", "born + INTERVAL 1 MONTH", "at_time - born", "date_trunc('month', at_time)", "tags"),
        *("at_time::TIMESTAMPTZ", "at_time::TIME", "dayname(born)", "age(at_time, born)", "{'t': at_time}"),
    ]
)
conditions = st.one_of(
    filled("{} {} {}", numbers, st.sampled_from(["<", ">=", "<>", "IS DISTINCT FROM"]), numbers),
    filled("({} LIKE '%é%' OR {} IS NULL)", texts, texts),
    filled("EXISTS (FROM visits w WHERE w.person = id AND w.cost > {})", numbers),
    filled("{} IN (SELECT person FROM visits)", numbers),
)
aggregates = st.one_of(
    filled("{}({})", st.sampled_from(["sum", "avg", "count", "max", "median", "stddev_pop"]), numbers),
    filled("string_agg({}, '|' ORDER BY id, person) FILTER ({})", texts, conditions),
    filled("list({} ORDER BY id, person)", times),
)
windows = filled("{} OVER (PARTITION BY {} ORDER BY id, person)", aggregates.filter(lambda a: "BY" not in a), texts)


@st.composite
def sound_selects(draw: st.DrawFn) -> str:
    """One SELECT that is likely to be a sound one."""
    plain = st.lists(st.one_of(numbers, texts, times, conditions), min_size=1, max_size=3)
    extra = draw(st.sampled_from([None, aggregates, windows]))
    outputs = draw(plain) + ([draw(extra)] if extra is not None else [])
    named = ", ".join(f"{output} AS {'id' if at == 0 else f'c{at}'}" for at, output in enumerate(outputs))
    condition = f" WHERE {draw(conditions)}" if draw(st.booleans()) else ""
    return (
        f"SELECT {named} FROM {draw(st.sampled_from(FULL))}{condition}{' GROUP BY ALL' if extra is aggregates else ''}"
    )


selects = st.one_of(sound_selects(), sound_selects(), wild_selects())


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A query: one SELECT, or several put together."""
    one, two = draw(selects), draw(selects)
    forms = [
        one,
        f"{one} ORDER BY ALL LIMIT 7",
        f"{one} UNION ALL {two}",
        f"{one} INTERSECT {two}",
        f"WITH c AS ({one}) SELECT * FROM c, ({two}) AS d",
        f"SELECT count(*) FROM ({one})",
        f"FROM ({one}) AS q SELECT q",
        f"{one} UNION BY NAME {two}",
        f"PIVOT ({one}) ON id USING count(*)",
        f"WITH c AS ({one}) UNPIVOT c ON COLUMNS(*)",
        f"{one} ORDER BY 1 LIMIT 50%;",
        f"-- {draw(literals)}\n{one}",
        f"FROM ({one}) AS q TABLESAMPLE 50%",
    ]
    return draw(st.sampled_from(forms))


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A statement with some of its words left out, doubled, moved or replaced by junk."""
    words = draw(statements()).split(" ")
    for _ in range(draw(st.integers(1, 3))):
        at, other = draw(st.integers(0, len(words) - 1)), draw(st.integers(0, len(words) - 1))
        change = draw(st.sampled_from(["drop", "double", "swap", "junk", "junk"]))
        if change == "drop" and len(words) > 1:
            words.pop(at)
        elif change == "double":
            words.insert(at, words[at])
        elif change == "swap":
            words[at], words[other] = words[other], words[at]
        else:
            words.insert(at, draw(JUNK))
    return " ".join(words)


junk = st.one_of(
    st.lists(JUNK, max_size=25).map(" ".join),
    st.text(max_size=80),
    st.text("'\"/*-+;()$\n", max_size=300),
)


@dataclass(frozen=True)
class Pools:
    """A pool that keeps results, one that keeps none, and a connection without any sandbox; all on one database."""

    keeping: SandboxPool
    fresh: SandboxPool
    plain: duckdb.DuckDBPyConnection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pools(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pools]:
    path = tmp_path_factory.mktemp("grammar") / "clinic.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(SETUP)
    plain = duckdb.connect(config={"threads": "1", "max_expression_depth": "250"})
    plain.execute(f"SET TimeZone = 'UTC'; ATTACH '{path}' AS db (READ_ONLY); USE db")
    without = LIMITS.model_copy(update={"cache_mb": 0})
    async with SandboxPool({"clinic": path}, LIMITS) as keeping, SandboxPool({"clinic": path}, without) as fresh:
        yield Pools(keeping, fresh, plain)
    plain.close()


async def judged(pools: Pools, sql: str) -> StatementOutcome:
    """The outcome of a statement, after the checks that hold for any text whatever."""
    before = pools.keeping.respawns
    outcome, _ = await pools.keeping.run("clinic", sql)
    assert isinstance(outcome, ResultTable | Refused | SqlError | LimitHit)
    if isinstance(outcome, LimitHit):
        assert outcome.reason != "crash", sql
        return outcome
    assert pools.keeping.respawns == before, sql
    if isinstance(outcome, ResultTable):
        assert set(outcome.facts.tables) <= set(TABLES), sql
        assert all(len(row) == len(outcome.columns) for row in outcome.rows)
    if is_lasting(outcome):
        kept, ran_s = await pools.keeping.run("clinic", sql)
        new, _ = await pools.fresh.run("clinic", sql)
        assert ran_s is None, "the second answer did not come from the cache"
        assert told(outcome, sql) == told(kept, sql) == told(new, sql), sql
    return outcome


def told(outcome: StatementOutcome, sql: str) -> str:
    """The outcome as it is stored; the engine gives the rows of a UNION in any order."""
    if isinstance(outcome, ResultTable) and "UNION" in sql:
        outcome = outcome.model_copy(update={"rows": sorted(outcome.rows, key=json.dumps)})
    return outcome.model_dump_json()


def plainly(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[list[str]]]:
    """Types and rows without a sandbox, each cell as the engine's own text."""
    bound = connection.sql(sql)
    texts = ", ".join(f"coalesce(#{at}::VARCHAR, 'NULL') AS c{at}" for at in range(1, len(bound.columns) + 1))
    return [str(kind) for kind in bound.types], [list(row) for row in bound.project(texts).fetchall()]


def without_signs(rows: list[list[str]]) -> str:
    """Rows with no sign before NaN, which a cell does not have and the engine's text does."""
    return json.dumps(rows).replace("-nan", "nan")


@given(sql=statements())
@example(sql="PIVOT people ON id USING count(*)")
@example(sql="SELECT (SELECT count(*) FROM (PIVOT visits ON note USING sum(cost))), at_time - at_time FROM visits")
@PACE
async def test_a_statement_of_the_grammar_gives_what_the_engine_gives_without_a_sandbox(sql: str, pools: Pools) -> None:
    outcome = await judged(pools, sql)
    assert not isinstance(outcome, Refused), (sql, outcome)
    if isinstance(outcome, SqlError):
        with pytest.raises(duckdb.Error):
            plainly(pools.plain, sql)
    if isinstance(outcome, ResultTable):
        types, rows = plainly(pools.plain, sql)
        assert list(outcome.types) == types
        if not (outcome.facts.volatile or outcome.truncated):
            shown = [[cell_text(cell) for cell in row] for row in outcome.rows]
            assert without_signs(shown) == without_signs(rows), sql


@given(sql=mangled())
@PACE
async def test_a_mangled_statement_ends_in_a_typed_outcome(sql: str, pools: Pools) -> None:
    await judged(pools, sql)


@given(sql=junk)
@PACE
async def test_junk_is_refused_or_harmless(sql: str, pools: Pools) -> None:
    await judged(pools, sql)


async def test_after_all_that_both_pools_still_answer_with_few_children_lost(pools: Pools) -> None:
    for pool in (pools.keeping, pools.fresh):
        outcome, _ = await pool.run("clinic", "SELECT count(*) FROM people, visits")
        assert isinstance(outcome, ResultTable)
        assert outcome.rows == [[108]]
