"""A question of the analyst's with its gold frozen on every copy of its database, if it makes a fair task."""

from collections.abc import Sequence

import sqlglot

from cluster.tasksets.analyst.questions import AnalystQuestion
from cluster.tasksets.tables import Table
from cluster.tasksets.translate import tables_of
from services.contracts.cells import cell_number
from services.contracts.statements import Cell, ResultTable, Rows
from services.contracts.trials import Profile
from services.grader.analyst.gold import AnalystGold, CostRange, HiddenCopy
from services.grader.analyst.scoring import cost_total
from services.grader.gold import GoldAnswer
from services.grader.results import same_result
from services.sandbox.pool import SandboxPool

LEAST_FAT = 2.0
"""How many times the lean query's cost the slow one's must be."""
LEAST_ROWS = 3
"""Of a list that is asked for: fewer are too easy to hit."""
LEAST_LEAD = 1.02
"""By how much the best category leads the next one."""


async def freeze(
    task_id: str, question: AnalystQuestion, databases: Sequence[str], tables: Sequence[Table], pool: SandboxPool
) -> GoldAnswer | None:
    """The gold of a question; the first database is the visible one. Raises SandboxFault."""
    results = [await _rows(pool, database, question.gold_sql) for database in databases]
    found = [rows for rows in results if rows]
    least = 1 if question.kind == "category_revenue" else LEAST_ROWS
    if (
        len(found) < len(databases)
        or min(map(len, found)) < least
        or any(same_result(rows, found[0], ordered=False) for rows in found[1:])
    ):
        return None
    if not await _is_fair(question, databases, found, pool):
        return None
    cost = await _costs(question, databases[1], pool)
    if cost is not None and cost.slow < LEAST_FAT * cost.lean:
        return None
    copies = [HiddenCopy(database=name, rows=rows) for name, rows in zip(databases[1:], found[1:], strict=True)]
    return GoldAnswer(
        task_id=task_id,
        gold_sql=question.gold_sql,
        gold_answer=[list(row) for row in found[0]],
        answer_type="table",
        tables_involved=tables_of(sqlglot.parse_one(question.gold_sql, read="duckdb")),
        analyst=AnalystGold(
            kind=question.kind,
            copies=tuple(copies),
            tables={table.name.lower(): tuple(name.lower() for name, _ in table.columns) for table in tables},
            keys=question.keys,
            cost=cost,
        ),
    )


async def _is_fair(
    question: AnalystQuestion, databases: Sequence[str], golds: Sequence[Rows], pool: SandboxPool
) -> bool:
    """Whether the query that is shown is wrong, or right, where it should be, and a winner wins clearly."""
    pairs = zip(databases, golds, strict=True)
    match question.kind:
        case "fix_broken_join":
            found = [(await _rows(pool, name, _first(question.shown_sql, len(gold) + 1)), gold) for name, gold in pairs]
            return all(len(rows) > len(gold) for rows, gold in found)
        case "category_revenue":
            best = [await _rows(pool, name, question.gold_sql.replace("LIMIT 1", "LIMIT 2")) for name in databases]
            return all(len(two) == 2 and _amount(two[0]) >= LEAST_LEAD * _amount(two[1]) for two in best)
        case "churn_analysis":
            found = [(await _rows(pool, name, question.shown_sql), gold) for name, gold in pairs]
            return all(same_result(rows, gold, ordered=False) for rows, gold in found)


async def _costs(question: AnalystQuestion, database: str, pool: SandboxPool) -> CostRange | None:
    if question.kind != "churn_analysis":
        return None
    slow, lean = [await pool.profile(database, sql) for sql in (question.shown_sql, question.gold_sql)]
    if not isinstance(slow, Profile) or not isinstance(lean, Profile):
        return None
    return CostRange(engine=slow.engine, slow=cost_total(slow), lean=cost_total(lean))


async def _rows(pool: SandboxPool, database: str, sql: str) -> Rows:
    """The rows of a query of ours, which runs."""
    outcome, _ = await pool.run(database, sql)
    if not isinstance(outcome, ResultTable):
        raise RuntimeError(f"a query of the built-in tasks does not run on {database}: {outcome.message}: {sql}")
    return outcome.rows


def _first(sql: str, count: int) -> str:
    """The first rows of a Cartesian product: to make them all would take seconds."""
    return f"SELECT * FROM ({sql}) LIMIT {count}"


def _amount(row: Sequence[Cell]) -> float:
    """The revenue in a row of category and revenue."""
    return float(cell_number(row[1]) or 0)
