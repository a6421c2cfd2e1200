"""Random queries over the tables of tests.nondeterminism, layer on layer, with picks, ties, joins and limits."""

import random
from collections.abc import Callable
from dataclasses import dataclass

EXACT = {
    "orders": ("id", "customer_id", "segment", "ts", "status", "price", "qty"),
    "customers": ("id", "name", "country"),
    "events": ("event_id", "user_id", "seen", "kind"),
}
"""Columns without floats."""
WINDOWS = (
    "row_number()", "rank()", "dense_rank()", "ntile(3)", "count(*)", "lag({0})", "first_value({0})",
    "last_value({0})", "any_value({0})", "max({0})", "min({0})",
)  # fmt: skip
AGGREGATES = (
    "count(*)", "count(DISTINCT {0})", "max({0})", "min({0})", "any_value({0})", "arg_max({0}, {1})",
    "first({0} ORDER BY {1})", "string_agg({0}::VARCHAR, ',' ORDER BY {1})", "list({0} ORDER BY {0})",
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A query and the names of its columns."""

    sql: str
    columns: tuple[str, ...]


class Queries:
    """Draws queries from a seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._count = 0
        self._layers: tuple[Callable[[Query], Query], ...] = (
            self._filter, self._join, self._window, self._window, self._numbered, self._numbered, self._qualify,
            self._group, self._group, self._distinct, self._distinct_on, self._limit, self._set_operation,
            self._unnest, self._lateral, self._scalar,
        )  # fmt: skip

    def query(self) -> Query:
        """A table under up to five layers."""
        table = self._draw.choice(sorted(EXACT))
        found = Query(f"SELECT {', '.join(EXACT[table])} FROM {table}", EXACT[table])
        for _ in range(self._draw.randint(1, 5)):
            found = self._draw.choice(self._layers)(found)
        return found

    def _new(self) -> str:
        self._count += 1
        return f"x{self._count}"

    def _some(self, query: Query, low: int, high: int) -> list[str]:
        count = min(self._draw.randint(low, high), len(query.columns))
        return self._draw.sample(query.columns, count)

    def _one(self, query: Query) -> str:
        return self._draw.choice(query.columns)

    def _over(self, query: Query) -> str:
        partition, order = self._some(query, 0, 2), self._some(query, 0, 3)
        parts = f"PARTITION BY {', '.join(partition)} " if partition else ""
        return f"OVER ({parts}{'ORDER BY ' + ', '.join(order) if order else ''})"

    def _filter(self, query: Query) -> Query:
        return Query(f"SELECT * FROM ({query.sql}) WHERE hash({self._one(query)}) % 3 <> 0", query.columns)

    def _join(self, query: Query) -> Query:
        table, new = self._draw.choice(sorted(EXACT)), self._new()
        kind = self._draw.choice(["", "", "LEFT", "LEFT", "RIGHT", "FULL"])
        taken, on = self._draw.sample(EXACT[table], 2), self._draw.choice(EXACT[table])
        more = self._draw.choice(["", f" AND hash(b.{on}) % 2 = 0"])
        columns = [f"a.{name}" for name in query.columns] + [f"b.{name} AS {new}_{name}" for name in taken]
        sql = f"SELECT {', '.join(columns)} FROM ({query.sql}) a {kind} JOIN {table} b ON a.{self._one(query)} = b.{on}"
        return Query(sql + more, (*query.columns, *(f"{new}_{name}" for name in taken)))

    def _window(self, query: Query) -> Query:
        new, function = self._new(), self._draw.choice(WINDOWS).format(self._one(query))
        return Query(f"SELECT *, {function} {self._over(query)} AS {new} FROM ({query.sql})", (*query.columns, new))

    def _numbered(self, query: Query) -> Query:
        new, condition = self._new(), self._draw.choice(["= 1", "= 1", "<= 2", "< 2"])
        inner = f"SELECT *, row_number() {self._over(query)} AS {new} FROM ({query.sql})"
        if self._draw.random() < 0.3:
            inner = f"SELECT * FROM ({inner}) WHERE hash({self._one(query)}) % 5 <> 0"
        elif self._draw.random() < 0.3:
            inner = f"SELECT i.* FROM ({inner}) i JOIN events e ON i.{self._one(query)}::VARCHAR = e.user_id::VARCHAR"
        more = self._draw.choice(["", "", f" AND hash({self._one(query)}) % 2 = 0"])
        return Query(f"SELECT {', '.join(query.columns)} FROM ({inner}) WHERE {new} {condition}{more}", query.columns)

    def _qualify(self, query: Query) -> Query:
        more = self._draw.choice(["", "", f" AND hash({self._one(query)}) % 2 = 0"])
        return Query(f"SELECT * FROM ({query.sql}) QUALIFY row_number() {self._over(query)} = 1{more}", query.columns)

    def _group(self, query: Query) -> Query:
        keys, news = self._some(query, 0, 2), [self._new() for _ in range(self._draw.randint(1, 3))]
        drawn = (self._draw.choice(AGGREGATES).format(self._one(query), self._one(query)) for _ in news)
        values = [f"{value} AS {new}" for value, new in zip(drawn, news, strict=True)]
        listed = ", ".join(keys)
        group = self._draw.choice([f"GROUP BY {listed}", "GROUP BY ALL", f"GROUP BY ROLLUP ({listed})"]) if keys else ""
        return Query(f"SELECT {', '.join([*keys, *values])} FROM ({query.sql}) {group}", (*keys, *news))

    def _distinct(self, query: Query) -> Query:
        columns = self._some(query, 1, 3)
        return Query(f"SELECT DISTINCT {', '.join(columns)} FROM ({query.sql})", tuple(columns))

    def _distinct_on(self, query: Query) -> Query:
        keys, order = self._some(query, 1, 2), self._some(query, 0, 2)
        ordered = ", ".join([*keys, *order])
        return Query(f"SELECT DISTINCT ON ({', '.join(keys)}) * FROM ({query.sql}) ORDER BY {ordered}", query.columns)

    def _limit(self, query: Query) -> Query:
        order, count = ", ".join(self._some(query, 1, 4)), self._draw.choice([1, 7, 40])
        return Query(f"SELECT * FROM ({query.sql}) ORDER BY {order} LIMIT {count}", query.columns)

    def _set_operation(self, query: Query) -> Query:
        word = self._draw.choice(["UNION", "UNION ALL", "EXCEPT", "EXCEPT ALL", "INTERSECT"])
        half = f"SELECT * FROM ({query.sql}) WHERE hash({self._one(query)}) % 2 = 0"
        return Query(f"SELECT * FROM ({query.sql}) {word} {half}", query.columns)

    def _unnest(self, query: Query) -> Query:
        new = self._new()
        return Query(f"SELECT *, unnest([1, 2]) AS {new} FROM ({query.sql})", (*query.columns, new))

    def _lateral(self, query: Query) -> Query:
        new, value = self._new(), self._draw.choice(["max(seen)", "any_value(kind)", "count(*)"])
        inner = f"SELECT {value} AS {new} FROM events e WHERE hash(e.user_id) = hash(a.{self._one(query)})"
        return Query(f"SELECT a.*, b.{new} FROM ({query.sql}) a, LATERAL ({inner}) b", (*query.columns, new))

    def _scalar(self, query: Query) -> Query:
        new, value = self._new(), self._draw.choice(["max(kind)", "count(*)", "first(seen ORDER BY kind)"])
        inner = f"SELECT {value} FROM events e WHERE e.user_id::VARCHAR = a.{self._one(query)}::VARCHAR"
        return Query(f"SELECT *, ({inner}) AS {new} FROM ({query.sql}) a", (*query.columns, new))
