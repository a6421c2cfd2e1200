"""Random queries over tables in several orders: what is classed stable is the same in each, and a key is a key."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import duckdb
import pytest

from services.grader.etl.nondeterminism.classes import classify
from tests.nondeterminism import FILLS, TABLES, job_of
from tests.random_queries import Queries

ROWS = 150


@pytest.fixture(scope="module")
def engines() -> Iterator[list[duckdb.DuckDBPyConnection]]:
    """The same tables three times, each with an order of rows and a number of threads of its own."""
    made = []
    for place, threads in enumerate((1, 3, 2)):
        connection = duckdb.connect(config={"threads": threads})
        connection.execute("SELECT setseed(?)", [place / 10])
        for name, columns in TABLES.items():
            order = "ORDER BY random()" if place else ""
            connection.execute(f"CREATE TABLE {name} ({columns})")
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM ({FILLS[name].format(rows=ROWS)}) {order}")
        made.append(connection)
    yield made
    for connection in made:
        connection.close()


def bag(rows: Iterable[Sequence[Any]], places: Sequence[int]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(repr(row[place]) for place in places) for row in rows)


def wrong(sql: str, engines: list[duckdb.DuckDBPyConnection]) -> str:
    """What the classifier says wrongly of a query; empty if nothing, or if the query does not run."""
    try:
        results = [engine.execute(sql).fetchall() for engine in engines]
    except duckdb.Error:
        return ""
    job = job_of(sql)
    found = classify(job)
    risky = {risk.column for risk in found.risks}
    names = [column.name for column in job.output_columns]
    if None in risky or len(results[0]) > 50_000:
        return ""
    stable = [place for place, name in enumerate(names) if name not in risky]
    if len({frozenset(bag(rows, stable).items()) for rows in results}) > 1:
        return "it differs"
    key = [names.index(name) for name in found.key or ()]
    repeated = found.key is not None and any(max(bag(rows, key).values(), default=1) > 1 for rows in results)
    return f"{found.key} is no key" if repeated else ""


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 21))])
def test_what_random_queries_are_said_to_keep_they_keep(seed: int, engines: list[duckdb.DuckDBPyConnection]) -> None:
    queries = Queries(seed)
    drawn = [queries.query().sql for _ in range(100 if seed else 25)]
    assert [(sql, said) for sql in drawn if (said := wrong(sql, engines))] == []
