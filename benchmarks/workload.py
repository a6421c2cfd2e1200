"""A Spider-like folder made from the built-in domains: SQLite databases and generated questions with gold SQL.

Benchmarks and tests use it where Spider itself is not at hand.
"""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cluster.tasksets.builtin import build_domains
from cluster.tasksets.builtin.domain import Domain, TableData

SQLITE_TYPES = {"INTEGER": "INTEGER", "BIGINT": "INTEGER", "DOUBLE": "REAL", "DECIMAL(10,2)": "REAL"}


def write_spider_like(folder: Path, questions_per_database: int, seed: int = 0) -> Path:
    """Write database/NAME/NAME.sqlite and train_spider.json; returns the folder."""
    entries = []
    for domain in build_domains(seed):
        path = folder / "database" / domain.name / f"{domain.name}.sqlite"
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection:
            for table in domain.tables:
                _write_table(connection, table)
            connection.commit()
        rng = random.Random(f"{seed}/{domain.name}")
        queries = _questions(domain, rng)
        for _ in range(questions_per_database):
            entries.append({"db_id": domain.name, "question": next(queries), "query": ""})
            entries[-1]["query"] = entries[-1]["question"]
    (folder / "train_spider.json").write_text(json.dumps(entries))
    (folder / "tables.json").write_text("[]")
    return folder


def _write_table(connection: sqlite3.Connection, table: TableData) -> None:
    columns = ", ".join(f'"{name}" {SQLITE_TYPES.get(kind.replace(" ", ""), "TEXT")}' for name, kind in table.columns)
    connection.execute(f'CREATE TABLE "{table.name}" ({columns})')
    rows = [tuple(_plain(value) for value in row) for row in table.rows]
    connection.executemany(f'INSERT INTO "{table.name}" VALUES ({", ".join("?" * len(table.columns))})', rows)


def _plain(value: object) -> object:
    if value is None or isinstance(value, int | float | str):
        return value
    return float(str(value))


def _questions(domain: Domain, rng: random.Random) -> Iterator[str]:
    """Gold queries without end: counts, filters, groups, joins, orders and limits in SQLite's words."""
    while True:
        table = rng.choice(domain.tables)
        columns = [name for name, _ in table.columns]
        numbers = [name for name, kind in table.columns if kind.startswith(("INT", "BIG", "DEC", "DOUBLE"))]
        one, two = rng.choice(columns), rng.choice(columns)
        number = rng.choice(numbers or columns)
        value = rng.choice(table.rows)[columns.index(one)]
        literal = "'" + str(value).replace("'", "''") + "'" if isinstance(value, str) else str(value or 0)
        yield rng.choice(
            [
                f"SELECT count(*) FROM {table.name} WHERE {one} = {literal}",
                f"SELECT count(DISTINCT {one}) FROM {table.name}",
                f"SELECT avg({number}), max({number}), min({number}) FROM {table.name}",
                f"SELECT {one}, count(*) FROM {table.name} GROUP BY {one}",
                f"SELECT DISTINCT {two} FROM {table.name} WHERE {one} != {literal} ORDER BY {two}",
                f"SELECT {one}, {two} FROM {table.name} ORDER BY {number} DESC LIMIT {rng.randint(1, 5)}",
                f"SELECT {one} FROM {table.name} GROUP BY {one} ORDER BY count(*) DESC, {one} LIMIT 3",
                f"SELECT {two} FROM {table.name} WHERE {number} > (SELECT avg({number}) FROM {table.name})",
                *_joins(table, one, number),
            ]
        )


def _joins(table: TableData, one: str, number: str) -> list[str]:
    return [
        f"SELECT T2.{theirs}, count(*) FROM {table.name} AS T1 JOIN {other} AS T2 ON T1.{mine} = T2.{theirs} "
        f"GROUP BY T2.{theirs} HAVING count(*) > 1"
        for mine, other, theirs in table.foreign_keys
    ]
