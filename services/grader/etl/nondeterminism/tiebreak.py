"""Tie-break corroboration: whether columns that a person allowed to differ do so only as a choice among ties would.

Over rows that are paired by the stable key: a carried value that differs has to come with the same ORDER BY siblings
(helios-post.txt), and all carried values of a row have to stand together in one source row of its tied set.

Invariant: "corroborated" is said only if every row of the right side, differing or not, is a row of its tied set.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import duckdb
from pydantic import Field

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.record import Record
from services.grader.etl.pinned import SETTINGS, quoted, text

TieVerdict = Literal["corroborated", "other_types", "unpaired", "other_order", "foreign", "unproven"]
EXAMPLES = 5
RTOL = 1e-9
FLOATS = ("FLOAT", "DOUBLE")


class TieRule(Record):
    """What is checked. All names are columns of both outputs, and of the source."""

    key: tuple[str, ...] = Field(min_length=1, description="stable columns that name a row of either output")
    order: tuple[str, ...] = Field(default=(), description="ORDER BY siblings: tied rows agree in them")
    carried: tuple[str, ...] = Field(min_length=1, description="columns that a person allowed to differ")


class TieExample(Record):
    """One row that is not a mere tie: what is wrong with it, its key, and its values on both sides, as text."""

    why: Literal["missing", "extra", "repeated", "other_order", "mixed", "foreign"]
    key: tuple[str | None, ...]
    left: tuple[str | None, ...]
    right: tuple[str | None, ...]


class TieReport(Record):
    """The verdict.

    `unproven`: the original's own output does not come from that source, so nothing can be said. `other_types`: the
    columns have other names or types on the right. `unpaired`: keys that one side lacks or repeats. `other_order`:
    siblings differ, which is a bug and no tie. `foreign`: carried values that are in no single row of the tied set.
    """

    verdict: TieVerdict
    rule: TieRule
    rows: int
    unpaired: int = 0
    differing: int = Field(default=0, description="paired rows whose carried values differ")
    ties: int = Field(default=0, description="of these, those with the same siblings, from one row of the tied set")
    other_order: int = 0
    mixed: int = Field(default=0, description="rows whose values are all in the tied set, but in no single row of it")
    foreign: int = Field(default=0, description="rows with a value that no row of the tied set has")
    examples: tuple[TieExample, ...] = ()


def corroborate(left: Path, right: Path, source: Path, rule: TieRule, memory_mb: int = 2048) -> TieReport:
    """Judge the right output beside the left, which is the original's; all three are Parquet files.

    `source` holds the rows that may be picked: without siblings in the rule the tied rows only, with them all rows.
    Raises BadInput for columns that are not there, Infrastructure where memory or disk run out.
    """
    config = {**SETTINGS, "memory_limit": f"{memory_mb}MB", "temp_directory": str(left.parent)}
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, path in (("l", left), ("r", right), ("s", source)):
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({text(str(path))})")
        try:
            return _Check(connection, rule).report()
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise Infrastructure(f"the ties could not be checked: {error}") from error


class _Check:
    """One check on its way."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, rule: TieRule) -> None:
        self._connection = connection
        self._rule = rule
        self._types = {view: self._columns(view) for view in "lrs"}
        for view in "ls":
            types = self._types[view]
            lacking = [name for name in (*rule.key, *rule.order, *rule.carried) if name not in types]
            if lacking:
                where = {"l": "the original's output", "s": "the source"}[view]
                raise BadInput(f"{where} has no column {', '.join(lacking)}: ties cannot be checked by it")

    def _columns(self, view: str) -> dict[str, str]:
        return {row[0]: row[1] for row in self._connection.execute(f"DESCRIBE {view}").fetchall()}

    def report(self) -> TieReport:
        """Everything counted, and the verdict."""
        rule = self._rule
        rows = self._count("SELECT count(*) FROM l")
        if self._types["l"] != self._types["r"]:
            return TieReport(verdict="other_types", rule=rule, rows=rows)
        examples = [*self._unpaired()]
        unpaired = self._count(f"SELECT count(*) FROM ({self._unpaired_sql()})")
        if unpaired:
            return TieReport(verdict="unpaired", rule=rule, rows=rows, unpaired=unpaired, examples=tuple(examples))
        if self._count(f"SELECT count(*) FROM l WHERE NOT EXISTS ({self._member('l', (*rule.order, *rule.carried))})"):
            return TieReport(verdict="unproven", rule=rule, rows=rows)
        self._connection.execute(f"CREATE TEMP TABLE judged AS {self._judged_sql()}")
        counts = dict(self._connection.execute("SELECT why, count(*) FROM judged GROUP BY why").fetchall())
        differing = self._count("SELECT count(*) FROM judged WHERE differs")
        other, mixed, foreign = (int(counts.get(why, 0)) for why in ("other_order", "mixed", "foreign"))
        verdict: TieVerdict = "other_order" if other else "foreign" if mixed or foreign else "corroborated"
        return TieReport(
            verdict=verdict,
            rule=rule,
            rows=rows,
            differing=differing,
            ties=self._count("SELECT count(*) FROM judged WHERE differs AND why IS NULL"),
            other_order=other,
            mixed=mixed,
            foreign=foreign,
            examples=tuple(self._examples()),
        )

    def _unpaired_sql(self) -> str:
        """Keys whose number of rows is not one on either side."""
        key = ", ".join(map(quoted, self._rule.key))
        joined = " AND ".join(f"a.{quoted(name)} IS NOT DISTINCT FROM b.{quoted(name)}" for name in self._rule.key)
        names = ", ".join(f"coalesce(a.{quoted(name)}, b.{quoted(name)}) AS {quoted(name)}" for name in self._rule.key)
        counted = (f"(SELECT {key}, count(*) AS n FROM {view} GROUP BY ALL)" for view in "lr")
        left, right = counted
        return f"""SELECT {names}, coalesce(a.n, 0) AS here, coalesce(b.n, 0) AS there
            FROM {left} a FULL JOIN {right} b ON {joined}
            WHERE a.n IS DISTINCT FROM 1 OR b.n IS DISTINCT FROM 1"""

    def _unpaired(self) -> Iterator[TieExample]:
        found = self._connection.execute(f"{self._unpaired_sql()} ORDER BY ALL LIMIT {EXAMPLES}").fetchall()
        for *key, here, there in found:
            why: Literal["missing", "extra", "repeated"]
            why = "repeated" if max(here, there) > 1 else "missing" if here else "extra"
            yield TieExample(why=why, key=_shown(key), left=(str(here),), right=(str(there),))

    def _member(self, view: str, columns: Sequence[str], siblings_of: str = "") -> str:
        """The source rows with a row's key that have its values, and the siblings of the row's partner on the left."""
        matched = [self._equal("s", view, name) for name in (*self._rule.key, *columns)]
        if siblings_of:
            matched.extend(self._equal("s", siblings_of, name) for name in self._rule.order)
        return f"SELECT 1 FROM s WHERE {' AND '.join(matched)}"

    def _judged_sql(self) -> str:
        """Each row of the right with its partner: whether it differs, and what is wrong with it, if anything is."""
        rule = self._rule
        paired = " AND ".join(f"l.{quoted(name)} IS NOT DISTINCT FROM r.{quoted(name)}" for name in rule.key)
        same_order = " AND ".join(self._equal("l", "r", name) for name in rule.order) or "true"
        same = " AND ".join(self._equal("l", "r", name) for name in rule.carried)
        single = " AND ".join(f"EXISTS ({self._member('r', (name,), 'l')})" for name in rule.carried)
        shown = [f"{view}.{quoted(name)}::VARCHAR" for view in "lr" for name in (*rule.key, *rule.order, *rule.carried)]
        return f"""SELECT [{", ".join(shown)}] AS shown, NOT ({same}) AS differs,
            CASE WHEN NOT ({same_order}) THEN 'other_order'
                 WHEN EXISTS ({self._member("r", rule.carried, "l")}) THEN NULL
                 WHEN {single} THEN 'mixed' ELSE 'foreign' END AS why
            FROM l JOIN r ON {paired}"""

    def _equal(self, one: str, other: str, name: str) -> str:
        """Whether two sides agree in a column: exactly, or for floats within the relative tolerance."""
        a, b = f"{one}.{quoted(name)}", f"{other}.{quoted(name)}"
        exact = f"{a} IS NOT DISTINCT FROM {b}"
        if name in self._rule.key or not all(self._types[view][name] in FLOATS for view in (one, other)):
            return exact
        near = f"isfinite({a}) AND isfinite({b}) AND abs({a} - {b}) <= {RTOL} * greatest(abs({a}), abs({b}))"
        return f"({exact} OR coalesce({near}, false))"

    def _examples(self) -> Iterator[TieExample]:
        asked = f"SELECT why, shown FROM judged WHERE why IS NOT NULL ORDER BY ALL LIMIT {EXAMPLES}"
        keys = len(self._rule.key)
        for why, shown in self._connection.execute(asked).fetchall():
            half = len(shown) // 2
            left, right = _shown(shown[keys:half]), _shown(shown[half + keys :])
            yield TieExample(why=why, key=_shown(shown[:keys]), left=left, right=right)

    def _count(self, sql: str) -> int:
        row = self._connection.execute(sql).fetchone()
        return int(row[0]) if row else 0


def _shown(values: Sequence[object]) -> tuple[str | None, ...]:
    return tuple(None if value is None else str(value) for value in values)
