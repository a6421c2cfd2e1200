"""A question of the analyst's with its gold frozen on every copy of its database, if it makes a fair task."""

from collections.abc import Sequence

import sqlglot

from cluster.tasksets.analyst.questions import AnalystQuestion
from cluster.tasksets.tables import Table
from cluster.tasksets.translate import tables_of
from services.contracts.statements import ResultTable, Rows
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
    """Whether the shown query is wrong where it should be and right where it should be, and a winner wins clearly."""
    for database, gold in zip(databases, golds, strict=True):
        match question.kind:
            case "fix_broken_join":
                if question.shown_sql is None or same_result(
                    await _rows(pool, database, question.shown_sql), gold, ordered=False
                ):
                    return False
            case "category_revenue":
                two = await _rows(pool, database, question.gold_sql.replace("LIMIT 1", "LIMIT 2"))
                if len(two) < 2 or float(_number(two[0][1])) < LEAST_LEAD * float(_number(two[1][1])):
                    return False
            case "churn_analysis":
                if question.shown_sql is None or not same_result(
                    await _rows(pool, database, question.shown_sql), gold, ordered=False
                ):
                    return False
    return True


async def _costs(question: AnalystQuestion, database: str, pool: SandboxPool) -> CostRange | None:
    if question.kind != "churn_analysis" or question.shown_sql is None:
        return None
    slow, lean = [await pool.profile(database, sql) for sql in (question.shown_sql, question.gold_sql)]
    if not isinstance(slow, Profile) or not isinstance(lean, Profile):
        return None
    return CostRange(engine=slow.engine, slow=cost_total(slow), lean=cost_total(lean))


async def _rows(pool: SandboxPool, database: str, sql: str) -> Rows:
    """The rows of a query of ours; those of a Cartesian product are cut, which makes them no less wrong."""
    outcome, _ = await pool.run(database, sql)
    if not isinstance(outcome, ResultTable):
        raise RuntimeError(f"a query of the built-in tasks does not run on {database}: {outcome.message}: {sql}")
    return outcome.rows


def _number(cell: object) -> str:
    return str(cell["decimal"]) if isinstance(cell, dict) else str(cell)
