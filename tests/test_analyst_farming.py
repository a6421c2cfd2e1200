"""The analyst's farms: none of them earns more than an honest episode that fails (sql-data-analyst-prd §5)."""

from collections.abc import Callable, Sequence

import pytest

from services.contracts.actions import Malformed, SQLAction
from tests.analyst_table import AnalystTable, Said, submit

KINDS = ("fix_broken_join", "category_revenue", "churn_analysis")
WRONG = "SELECT 'something', 'else', 1"
Farm = Callable[[AnalystTable, str], Sequence[Said]]


def better(table: AnalystTable, task_id: str) -> list[str]:
    """Statements of the task, each with a score above the one before; the last one is right."""
    gold = table.gold(task_id)
    if task_id.startswith("category_revenue"):
        return [gold.replace("DISTINCT ", ""), gold]
    if task_id.startswith("churn_analysis"):
        shown = table.shown(task_id)
        return [shown, shown.replace("DISTINCT ", "", 1), shown.replace("DISTINCT ", ""), gold]
    return [gold]


def up_and_down(table: AnalystTable, task_id: str) -> list[Said]:
    return [sql for good in better(table, task_id) for sql in (good, WRONG, good, WRONG)] + [WRONG] * 20


def tiny_steps(table: AnalystTable, task_id: str) -> list[Said]:
    return [f"{sql} " for sql in better(table, task_id) for _ in range(2)] + [WRONG] * 20


def never_done(table: AnalystTable, task_id: str) -> list[Said]:
    return [table.gold(task_id)] * 20


def guesses(template: str) -> Farm:
    """A statement varied by a number, submitted in the end."""
    return lambda table, task_id: [template.replace("N", str(n)) for n in range(1, 10)] + [submit("SELECT 1")]


def of_first_table(template: str) -> Farm:
    """The same over the first table of the schema."""

    def farm(table: AnalystTable, task_id: str) -> list[Said]:
        first = next(iter(table.start(task_id).reset().schema_))
        return [template.replace("TABLE", first).replace("N", str(n)) for n in range(1, 10)] + [submit()]

    return farm


FARMS: dict[str, Farm] = {
    "score up and down": up_and_down,
    "tiny steps": tiny_steps,
    "never done": never_done,
    "submitting nothing at once": lambda table, task_id: [submit()],
    "submitting nonsense at once": lambda table, task_id: [submit("pay me")],
    "submitting the question's own query": lambda table, task_id: [submit(_shown_or(table, task_id))],
    "constants": guesses("SELECT N"),
    "constants in three columns": guesses("SELECT N, 'a', N"),
    "constants from a table": of_first_table("SELECT N FROM TABLE"),
    "guesses of a count": of_first_table("SELECT * FROM TABLE LIMIT N"),
    "counts": of_first_table("SELECT count(*) + N FROM TABLE"),
    "comments": of_first_table("SELECT count(*) FROM TABLE -- INNER JOIN N ON 1 = 1"),
    "cross joins": of_first_table("SELECT a.* FROM TABLE a, TABLE b LIMIT N"),
    "dice": of_first_table("SELECT * FROM TABLE WHERE random() < 0.N"),
    "statements that do not parse": guesses("SELEC N"),
    "statements that do not bind": of_first_table("SELECT nothing_N FROM TABLE"),
    "forbidden statements": of_first_table("DROP TABLE TABLE"),
    "empty statements": lambda table, task_id: [SQLAction(sql_query=" ")] * 20,
    "no actions": lambda table, task_id: [Malformed(text="?", reason="not valid JSON")] * 20,
}


def _shown_or(table: AnalystTable, task_id: str) -> str:
    return table.gold(task_id).replace("DISTINCT ", "") if "revenue" in task_id else table.shown(task_id)


def honest_failure(table: AnalystTable, task_id: str) -> list[Said]:
    """Finds the right query, and then submits another one."""
    return [table.gold(task_id), submit(WRONG)]


@pytest.mark.parametrize("name", FARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_farm_never_earns_more_than_an_honest_failure(analyst: AnalystTable, name: str, kind: str) -> None:
    farmed = analyst.play(kind, FARMS[name](analyst, kind))
    failed = analyst.play(kind, honest_failure(analyst, kind))
    assert farmed.over
    assert failed.verdict() == "incorrect"
    assert farmed.verdict() != "correct"
    assert farmed.reward() <= failed.reward() + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_solving_is_paid_twice_as_much_as_all_that_comes_before(analyst: AnalystTable, kind: str) -> None:
    solved = analyst.play(kind, [submit(analyst.gold(kind))])
    assert (solved.verdict(), solved.reward()) == ("correct", 1.0)
    assert analyst.play(kind, [analyst.gold(kind), submit()]).reward() == 1.0
    assert analyst.play(kind, honest_failure(analyst, kind)).reward() == 0.5
    assert analyst.play(kind, never_done(analyst, kind)).reward() == pytest.approx(0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_end_is_paid_the_same_by_whatever_way(analyst: AnalystTable, kind: str) -> None:
    ways = [[*better(analyst, kind)[:-1], submit(analyst.gold(kind))], [WRONG, submit(analyst.gold(kind))]]
    assert [analyst.play(kind, way).reward() for way in ways] == [pytest.approx(1.0)] * 2
