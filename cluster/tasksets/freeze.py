"""A question of one's own with its gold answer frozen: from its SQL, run inside the sandbox, or as it was stated."""

from dataclasses import dataclass

import sqlglot
from pydantic import ValidationError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cluster.tasksets.questions import Question
from cluster.tasksets.translate import difficulty_of, is_ordered
from services.contracts.cells import cell_number
from services.contracts.statements import Cell, ResultTable, Rows
from services.contracts.tasks import Task
from services.grader.answers import is_correct, submission
from services.grader.gold import AnswerType, GoldAnswer, shape_answer
from services.sandbox.pool import SandboxPool


@dataclass(frozen=True)
class Frozen:
    """A question that goes into the task set."""

    task: Task
    gold: GoldAnswer


@dataclass(frozen=True)
class SetAside:
    """A question that does not, and why; the reason is one of few, the detail is its own."""

    reason: str
    detail: str


async def freeze(question: Question, pool: SandboxPool) -> Frozen | SetAside:
    """The task and its gold, or why there is none. Raises SandboxFault."""
    if question.gold_sql is None:
        return _stated(question)
    outcome, _ = await pool.run(question.database, question.gold_sql)
    if not isinstance(outcome, ResultTable):
        too_large = outcome.kind == "limit" and outcome.reason == "result_size"
        return SetAside("too large" if too_large else "gold does not run", outcome.message)
    if not outcome.rows or all(cell is None for row in outcome.rows for cell in row):
        return SetAside("empty", "the gold gives no rows, or nothing but NULL")
    if outcome.truncated:
        return SetAside("too large", f"the gold gives more than {len(outcome.rows)} rows, or more than 1 MB")
    if outcome.facts.volatile:
        return SetAside("changes from run to run", "the gold asks for the time or a random number")
    return _from_result(question, question.gold_sql, outcome)


def _from_result(question: Question, sql: str, result: ResultTable) -> Frozen | SetAside:
    found, _ = shape_answer(result.rows)
    kind = question.answer_type or found
    answer = _shaped(result.rows, found, kind)
    if answer is None:
        return SetAside("another answer type", f"the gold gives a {found}, not a {kind}")
    tree = _parsed(sql)
    ordered = tree is not None and is_ordered(tree) and len(result.rows) > 1
    gold = GoldAnswer(
        task_id=question.task_id,
        gold_sql=sql,
        gold_answer=answer,
        answer_type=kind,
        ordered=ordered if question.ordered is None else question.ordered,
        tolerance=question.tolerance,
        tables_involved=result.facts.tables,
    )
    if question.answer is not None and not is_correct(gold, submission(question.answer[1])):
        return SetAside("another answer", f"the gold gives {submission(answer)[:100]}, not the answer beside it")
    return _checked(question, gold, tree)


def _stated(question: Question) -> Frozen | SetAside:
    if question.answer is None:
        raise ValueError("a question has gold SQL or an answer")
    kind, answer = question.answer
    try:
        gold = GoldAnswer(
            task_id=question.task_id,
            gold_sql="",
            gold_answer=answer,
            answer_type=kind,
            ordered=bool(question.ordered),
            tolerance=question.tolerance,
        )
    except ValidationError as error:
        return SetAside("not an answer", error.errors()[0]["msg"])
    return _checked(question, gold, None)


def _checked(question: Question, gold: GoldAnswer, tree: exp.Expr | None) -> Frozen | SetAside:
    """What nobody could answer is set aside."""
    if not is_correct(gold, submission(gold.gold_answer)):
        return SetAside("does not score", f"{submission(gold.gold_answer)[:100]!r}, submitted, is not judged correct")
    difficulty = question.difficulty or ("medium" if tree is None else difficulty_of(tree))
    task = Task(task_id=question.task_id, database=question.database, question=question.text, difficulty=difficulty)
    return Frozen(task, gold)


def _shaped(rows: Rows, found: AnswerType, wanted: AnswerType) -> Cell:
    """The result in the form of the wanted answer type; None if it does not fit."""
    single = found not in ("list", "table")
    number = cell_number(rows[0][0]) if single else None
    match wanted:
        case "table":
            return [list(row) for row in rows]
        case "list":
            return [row[0] for row in rows] if len(rows[0]) == 1 else None
        case "integer":
            return int(number) if number is not None and number == number.to_integral_value() else None
        case "float":
            return rows[0][0] if number is not None else None
        case "string":
            return rows[0][0] if single else None


def _parsed(sql: str) -> exp.Expr | None:
    try:
        return sqlglot.parse_one(sql, read="duckdb")
    except SqlglotError:
        return None
