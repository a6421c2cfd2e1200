"""The three graders: what earns a score, on real databases and their hidden copies, and what only looks like it."""

import json
import re

import pytest

from services.contracts.cells import cell_text
from services.contracts.statements import ResultTable
from services.contracts.trials import Tried
from tests.analyst_table import AnalystTable, submit

KINDS = ("fix_broken_join", "category_revenue", "churn_analysis")


@pytest.mark.parametrize("kind", KINDS)
def test_the_gold_scores_1_and_an_empty_or_unrelated_query_0(analyst: AnalystTable, kind: str) -> None:
    for task_id in analyst.tasks(kind):
        table = next(iter(analyst.start(task_id).reset().schema_))
        assert analyst.score(task_id, analyst.gold(task_id)) == 1.0
        for sql in (
            "SELECT 1",
            "SELECT 1, 2, 3",
            f"SELECT * FROM {table} WHERE false",
            f"SELECT count(*) FROM {table}",
        ):
            assert analyst.score(task_id, sql) == 0.0, sql


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_rows_as_constants_score_0(analyst: AnalystTable, kind: str) -> None:
    for task_id in analyst.tasks(kind):
        rows = analyst.golds[task_id].rows()
        values = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in rows)
        names = ", ".join(f"c{place}" for place in range(len(rows[0])))
        said = f"SELECT {names} FROM (VALUES {values}) AS t({names})"
        assert analyst.score(task_id, said) == 0.0
        table = next(iter(analyst.start(task_id).reset().schema_))
        beside = f"SELECT {names} FROM (VALUES {values}) AS t({names}), (SELECT count(*) AS n FROM {table}) WHERE n > 0"
        assert analyst.score(task_id, beside) == 0.0


def test_a_broken_join_scores_0_whatever_its_count(analyst: AnalystTable) -> None:
    for task_id in analyst.tasks("fix_broken_join"):
        count, shown = len(analyst.golds[task_id].rows()), analyst.shown(task_id)
        assert analyst.score(task_id, shown) == 0.0
        assert analyst.score(task_id, f"SELECT * FROM ({shown}) LIMIT {count}") == 0.0
        assert analyst.score(task_id, f"SELECT DISTINCT * FROM ({analyst.gold(task_id)}) LIMIT {count - 1}") == 0.0


def test_a_join_may_be_written_in_any_way_that_computes_it(analyst: AnalystTable) -> None:
    for task_id in analyst.tasks("fix_broken_join"):
        gold = analyst.gold(task_id)
        froms, where = gold.split(" FROM ")[1].split(" WHERE ")
        conditions = re.findall(r" ON (\S+ = \S+)", froms)
        tables = re.sub(r" ON \S+ = \S+", "", froms).replace(" INNER JOIN ", ", ")
        comma = f"{gold.split(' FROM ')[0]} FROM {tables} WHERE {' AND '.join(conditions)} AND {where}"
        assert analyst.score(task_id, comma) == 1.0
        assert analyst.score(task_id, f"WITH joined AS ({gold}) SELECT * FROM joined ORDER BY ALL") == 1.0
        assert analyst.score(task_id, f"SELECT * FROM ({gold}) UNION ALL SELECT * FROM ({gold})") == 0.0


def test_a_volatile_statement_scores_0(analyst: AnalystTable) -> None:
    for kind in KINDS:
        gold = analyst.gold(kind)
        assert analyst.score(kind, f"SELECT * FROM ({gold}) WHERE random() >= 0") == 0.0


def test_revenue_pays_half_for_the_join_and_half_for_the_value(analyst: AnalystTable) -> None:
    for task_id in analyst.tasks("category_revenue"):
        gold = analyst.gold(task_id)
        lines, on = re.search(r"FROM (\w+)\) l INNER JOIN .* ON (\S+ = \S+)", gold).groups()  # type: ignore[union-attr]
        items = re.search(r"INNER JOIN (\w+) i", gold)[1]  # type: ignore[index]
        joined = f"FROM {lines} l JOIN {items} i ON {on}"
        assert analyst.score(task_id, gold.replace("DISTINCT ", "")) == 0.5
        assert analyst.score(task_id, f"SELECT i.category, SUM(l.quantity) {joined} GROUP BY 1 ORDER BY 2 DESC") == 0.5
        assert analyst.score(task_id, gold.replace(" LIMIT 1", "")) == 1.0
        for cheat in (
            f"SELECT 'toys', 42 {joined}",
            f"SELECT i.category, 1 FROM {items} i -- JOIN {lines} l ON {on}",
            f"SELECT i.category, 'INNER JOIN ON' FROM {items} i",
            f"WITH unused AS (SELECT 1 {joined}) SELECT category, 1 FROM {items}",
            f"SELECT i.category, SUM(l.quantity) FROM {lines} l, {items} i GROUP BY 1",
            f"SELECT i.category, SUM(l.quantity) FROM {lines} l JOIN {items} i ON true GROUP BY 1",
            f"SELECT i.category, SUM(l.quantity) FROM {lines} l JOIN {items} i ON {on} OR true GROUP BY 1",
            f"SELECT i.category, SUM(l.quantity) {joined}, {items} other GROUP BY 1",
            f"SELECT i.category, 1 FROM {items} i WHERE EXISTS (SELECT 1 FROM {lines})",
            f"SELECT i.category, 1 {joined} WHERE false",
        ):
            assert analyst.score(task_id, cheat) == 0.0, cheat


def test_a_revenue_that_is_right_here_only_is_paid_for_its_join_at_most(analyst: AnalystTable) -> None:
    task_id = "category_revenue"
    category, revenue = map(cell_text, analyst.golds[task_id].rows()[0])
    table = next(iter(analyst.start(task_id).reset().schema_))
    lucky = f"SELECT '{category}' AS category, {revenue} + 0 * count(*) AS revenue FROM {table}"
    assert analyst.score(task_id, lucky) == 0.0
    many = f"SELECT '{category}', {revenue}, {', '.join(map(str, range(50)))}"
    assert analyst.score(task_id, many) == 0.0


def test_churn_pays_for_accuracy_and_then_for_cost(analyst: AnalystTable) -> None:
    for task_id in analyst.tasks("churn_analysis"):
        shown, gold = analyst.shown(task_id), analyst.gold(task_id)
        without_distinct = shown.replace("DISTINCT ", "")
        without_like = shown[: shown.rindex(" WHERE ")] + gold[gold.rindex(" WHERE ") :]
        scores = [analyst.score(task_id, sql) for sql in (shown, without_like, without_distinct, gold)]
        assert scores[0] == 0.6
        assert scores == sorted(scores)
        assert all(0.6 < score < 0.8 for score in scores[1:3]), "half of the fat does not complete the task"
        assert scores[3] == 1.0


def test_a_cheap_query_with_wrong_rows_is_not_paid_for_its_cost(analyst: AnalystTable) -> None:
    for task_id in analyst.tasks("churn_analysis"):
        gold = analyst.gold(task_id)
        assert analyst.score(task_id, f"{gold} LIMIT 1") == 0.0
        assert analyst.score(task_id, gold.replace("r.nth = 3", "r.nth = 2")) == 0.0
        assert analyst.score(task_id, f"SELECT * FROM ({gold}) UNION ALL SELECT * FROM ({gold})") == 0.0


def test_a_plan_that_is_cheap_on_the_visible_database_only_is_costed_where_it_is_not(analyst: AnalystTable) -> None:
    for task_id in analyst.tasks("churn_analysis"):
        rows = analyst.golds[task_id].rows()
        values = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in rows)
        table = re.search(r"AS state FROM (\w+)\)", analyst.gold(task_id))[1]  # type: ignore[index]
        database = analyst.task_set.tasks[task_id].database
        counted = analyst.run(database, f"SELECT sum(hash(t)) % 1000000 FROM {table} t")
        assert isinstance(counted, ResultTable)
        here = f"(SELECT sum(hash(t)) % 1000000 FROM {table} t) = {cell_text(counted.rows[0][0])}"
        slow = analyst.shown(task_id)
        split = (
            f"SELECT * FROM (VALUES {values}) v(a, b) WHERE {here} UNION ALL SELECT * FROM ({slow}) WHERE NOT {here}"
        )
        assert analyst.score(task_id, split) == pytest.approx(0.6)


def test_the_same_statement_has_the_same_score_and_cost_every_time(analyst: AnalystTable) -> None:
    task_id = "churn_analysis"
    database = analyst.task_set.tasks[task_id].database
    profiles = [analyst.runner.run(analyst.pool.profile(database, analyst.shown(task_id))) for _ in range(5)]
    assert len(set(profiles)) == 1


def test_a_right_result_without_its_trials_is_an_error_and_never_a_score(analyst: AnalystTable) -> None:
    for kind in KINDS:
        episode = analyst.start(kind)
        outcome = analyst.run(analyst.task_set.tasks[kind].database, analyst.gold(kind))
        with pytest.raises(ValueError, match="trial"):
            episode.apply(submit(analyst.gold(kind)), Tried(outcome=outcome))


def _literal(cell: object) -> str:
    text = cell_text(cell)  # type: ignore[arg-type]
    return json.dumps(cell) if isinstance(cell, int | float) else "'" + text.replace("'", "''") + "'"
