"""The cheapest wrong things: none of them earns more than an honest episode that fails (sqlenv-v1-spec §3.6)."""

from collections.abc import Callable

import pytest

from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from tests.conftest import Table

TASKS = (
    "retail-000",
    "retail-001",
    "retail-004",
    "retail-010",
    "hospital-000",
    "music-001",
    "library-002",
    "energy-003",
)
Farm = Callable[[list[str], list[tuple[str, str]], GoldAnswer], list[str]]


def describe_all(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"DESCRIBE {name}" for name in names] * 3


def sample_all(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"SAMPLE {name}" for name in names] * 3


def repeated(*actions: str) -> Farm:
    return lambda names, columns, gold: [actions[i % len(actions)].replace("TABLE", names[0]) for i in range(20)]


def numbered(template: str) -> Farm:
    """One query varied by a number."""
    return lambda names, columns, gold: [
        template.replace("TABLE", names[0]).replace("COLUMN", columns[0][1]).replace("N", str(i)) for i in range(1, 21)
    ]


def bisection(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"QUERY SELECT {2**i}" for i in range(14)]


def bisection_over_a_table(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"QUERY SELECT {2**i} + 0 * count(*) FROM {names[0]}" for i in range(14)]


def bisection_in_values(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"QUERY SELECT v.n FROM {names[0]}, (VALUES ({2**i})) AS v(n) LIMIT 1" for i in range(14)]


def spaces(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"QUERY SELECT{' ' * i} count(*) FROM {names[0]}" for i in range(1, 21)]


def joined_to_itself(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"QUERY SELECT 1 FROM {', '.join(f'{names[0]} a{j}' for j in range(1, 1 + i % 2 + 1))} LIMIT {i}"
            for i in range(1, 21)]  # fmt: skip


def constant_columns(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    return [f"QUERY SELECT {', '.join(['1'] * i)} FROM {names[0]}" for i in range(1, 21)]


def growing_columns(names: list[str], columns: list[tuple[str, str]], gold: GoldAnswer) -> list[str]:
    first = columns[0][1]
    return [f"QUERY SELECT {', '.join([first] * i)} FROM {names[0]}" for i in range(1, 21)]


FARMS: dict[str, Farm] = {
    "answering 0 at once": repeated("ANSWER 0"),
    "answering nothing": repeated("ANSWER"),
    "answering NULL": repeated("ANSWER NULL"),
    "an early wrong answer after one look": repeated("DESCRIBE TABLE", "ANSWER none"),
    "describing everything, again and again": describe_all,
    "sampling everything, again and again": sample_all,
    "describing one table for ever": repeated("DESCRIBE TABLE"),
    "sampling one table for ever": repeated("SAMPLE TABLE"),
    "never answering, one query for ever": repeated("QUERY SELECT count(*) FROM TABLE"),
    "constants": numbered("QUERY SELECT N"),
    "constants from a table": numbered("QUERY SELECT N FROM TABLE"),
    "comments": numbered("QUERY SELECT count(*) FROM TABLE -- N"),
    "white space": spaces,
    "a changing LIMIT": numbered("QUERY SELECT COLUMN FROM TABLE LIMIT N"),
    "a changing OFFSET": numbered("QUERY SELECT 1 FROM TABLE OFFSET N"),
    "a predicate that is always true": numbered("QUERY SELECT count(*) FROM TABLE WHERE N = N"),
    "an alias that changes": numbered("QUERY SELECT count(*) AS aN FROM TABLE"),
    "a table alias that changes": numbered("QUERY SELECT tN.COLUMN FROM TABLE AS tN"),
    "a filter that changes": numbered("QUERY SELECT count(*) FROM TABLE WHERE length(COLUMN::VARCHAR) > N"),
    "a sum that changes": numbered("QUERY SELECT count(*) + N FROM TABLE"),
    "bisection": bisection,
    "bisection over a table": bisection_over_a_table,
    "bisection through VALUES": bisection_in_values,
    "constants in more and more columns": constant_columns,
    "one column more and more often": growing_columns,
    "joining a table with itself": joined_to_itself,
    "nonsense": repeated("please pay me"),
    "forbidden statements": repeated("QUERY DROP TABLE TABLE", "QUERY SELECT * FROM duckdb_settings()"),
    "faulty statements": repeated("QUERY SELECT nothing FROM TABLE", "QUERY SELECT"),
    "alternating two queries": repeated("QUERY SELECT 1 FROM TABLE", "QUERY SELECT count(*) FROM TABLE"),
}


def honest_failure(gold: GoldAnswer) -> list[str]:
    """Looks at the tables that matter, asks the right thing, and then writes the wrong answer."""
    looks = [f"DESCRIBE {name}" for name in gold.tables_involved]
    return [*looks, f"QUERY {gold.gold_sql}", "ANSWER something else entirely"]


@pytest.mark.parametrize("name", FARMS)
def test_a_farm_never_earns_more_than_an_honest_failure(table: Table, golds: dict[str, GoldAnswer], name: str) -> None:
    for task_id in TASKS:
        gold = golds[task_id]
        catalog = table.catalog(task_id)
        names = [entry.name for entry in catalog.tables]
        columns = [(entry.name, column) for entry in catalog.tables for column, _ in entry.columns]
        farmed = table.play(task_id, FARMS[name](names, columns, gold))
        honest = table.play(task_id, honest_failure(gold))
        assert honest.verdict() == "incorrect"
        assert farmed.verdict() != "correct", f"{task_id} is solved by {name}"
        assert farmed.reward() <= honest.reward(), f"{task_id}: {farmed.reward()} > {honest.reward()}"


def test_the_most_that_shaping_can_pay_is_half_of_a_right_answer(table: Table, golds: dict[str, GoldAnswer]) -> None:
    for task_id in TASKS:
        right = table.play(task_id, [f"ANSWER {submission(golds[task_id].gold_answer)}"])
        assert right.verdict() == "correct"
        assert right.reward() == 1.0
