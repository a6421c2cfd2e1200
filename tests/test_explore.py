"""One explore episode by the numbers of sqlenv-v1-spec §2 and §3."""

import pytest

from services.contracts.actions import Malformed
from services.contracts.grading import RewardComponents
from services.contracts.statements import LimitHit, Refused, ResultTable, SqlError
from tests.conftest import Table

COUNT = "retail-000"  # How many orders are there? 411


def parts(episode: object, index: int = -1) -> dict[str, float]:
    components: RewardComponents = episode.steps[index].components  # type: ignore[attr-defined]
    return {name: value for name, value in components.model_dump().items() if value}


def test_at_reset_the_agent_sees_the_question_the_table_names_and_the_budget(table: Table) -> None:
    first = table.start(COUNT).reset()
    assert first.question == "How many orders are there?"
    assert first.schema_info == "tables: customers, orders, order_items, products, suppliers"
    assert (first.budget_remaining, first.step_count, first.result, first.error) == (15, 0, "", "")


def test_describe_shows_columns_types_and_the_row_count(table: Table) -> None:
    step = table.play(COUNT, ["DESCRIBE suppliers"]).steps[0]
    assert step.result.splitlines()[:3] == ["table suppliers (32 rows)", "column,type", "supplier_id,INTEGER"]


def test_sample_shows_five_rows_that_the_seed_chooses(table: Table) -> None:
    catalog = table.catalog(COUNT)
    orders = catalog.find("ORDERS")
    assert orders is not None
    one, again, other = orders.sample(1), orders.sample(1), orders.sample(2)
    assert len(one.splitlines()) == 6
    assert one == again
    assert one != other


def test_a_query_shows_at_most_twenty_rows_and_says_how_many_there_are(table: Table) -> None:
    step = table.play(COUNT, ["QUERY SELECT order_id FROM orders"]).steps[0]
    assert len(step.result.splitlines()) == 1 + 20 + 1
    assert step.result.endswith("(first 20 of 411 rows)")


def test_a_right_answer_is_paid_one_and_costs_no_step(table: Table) -> None:
    episode = table.play(COUNT, ["QUERY SELECT count(*) FROM orders", "ANSWER 411"])
    assert episode.verdict() == "correct"
    assert parts(episode) == {"correctness": 1.0}
    assert parts(episode, 0) == {"exec_ok": 0.02, "cost": -0.005, "progress": 0.15}
    assert episode.reward() == pytest.approx(1.165)


def test_a_wrong_answer_is_paid_nothing_and_ends_the_episode(table: Table) -> None:
    episode = table.play(COUNT, ["ANSWER 412", "ANSWER 411"])
    assert (episode.verdict(), episode.reward(), len(episode.steps)) == ("incorrect", 0.0, 1)
    with pytest.raises(ValueError, match="over"):
        episode.apply(Malformed(text="", reason=""))


def test_an_exhausted_budget_truncates_and_the_shaping_stays(table: Table) -> None:
    episode = table.play(COUNT, [f"DESCRIBE {t}" for t in ("orders", "customers", "products")], budget=3)
    assert (episode.truncation, episode.terminated, episode.verdict()) == ("budget", False, "no_submission")
    assert episode.reward() == pytest.approx(3 * 0.005)


def test_new_info_is_paid_per_action_that_shows_something_new_up_to_a_tenth(table: Table) -> None:
    episode = table.play(COUNT, ["SAMPLE orders", "DESCRIBE orders", "QUERY SELECT order_id FROM orders LIMIT 3"])
    assert [step.components.new_info for step in episode.steps] == [0.01, 0.01, 0.0]
    looks = [f"{verb} {name}" for name in ("orders", "customers", "products", "suppliers", "order_items")
             for verb in ("SAMPLE", "DESCRIBE")]  # fmt: skip
    more = ["QUERY SELECT city FROM customers", "QUERY SELECT rating FROM suppliers"]
    assert sum(step.components.new_info for step in table.play(COUNT, looks + more).steps) == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DESCRIBE orders", "DESCRIBE Orders"),
        ("SAMPLE orders", 'SAMPLE "orders"'),
        ("QUERY SELECT status FROM orders", "QUERY select STATUS\nfrom orders -- again"),
        ("QUERY SELECT status FROM orders WHERE 1=1 AND 2=2", "QUERY SELECT status FROM orders WHERE 2=2 AND 1=1"),
    ],
)
def test_doing_the_same_again_is_a_repeat(table: Table, first: str, second: str) -> None:
    assert parts(table.play(COUNT, [first, second])) == {"repeat": -0.01, "cost": -0.005}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT status FROM orders WHERE 1 = 1",
        "SELECT status AS s FROM orders ORDER BY order_id",
        "SELECT status, 1, 2, 3 FROM orders WHERE 3 > 2",
        "SELECT o.status FROM orders AS o LIMIT 400",
    ],
)
def test_a_variation_that_shows_little_new_earns_at_most_once(table: Table, sql: str) -> None:
    episode = table.play(COUNT, ["QUERY SELECT status FROM orders", f"QUERY {sql}", f"QUERY {sql} -- x"])
    assert episode.steps[2].components.exec_ok == 0.0


def test_exec_ok_is_paid_for_ten_queries(table: Table) -> None:
    columns = ["customer_id", "email", "city", "loyalty_tier", "name"]
    queries = [f"QUERY SELECT {c} FROM customers" for c in columns]
    queries += [f"QUERY SELECT min({c}), max({c}) FROM customers" for c in columns]
    queries += ["QUERY SELECT rating FROM suppliers", "QUERY SELECT country FROM suppliers"]
    episode = table.play(COUNT, queries)
    assert [step.components.exec_ok for step in episode.steps] == [0.02] * 10 + [0.0] * 2


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 411",
        "SELECT 411 FROM orders LIMIT 1",
        "SELECT n FROM (VALUES (411)) AS v(n)",
        "WITH orders AS (SELECT 411 AS n) SELECT n FROM orders",
        "SELECT * FROM range(411, 412)",
    ],
)
def test_a_constant_is_neither_exec_ok_nor_progress(table: Table, sql: str) -> None:
    assert parts(table.play(COUNT, [f"QUERY {sql}"])) == {"cost": -0.005}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT n FROM orders, (VALUES (411)) AS v(n) LIMIT 1",
        "SELECT 0 * order_id + 411 FROM orders LIMIT 1",
        "SELECT CASE WHEN count(*) > 0 THEN 411 END FROM orders",
        "SELECT max(order_id) * 0 + 411 FROM orders",
    ],
)
def test_a_value_that_the_query_brought_along_is_no_progress(table: Table, sql: str) -> None:
    assert table.play(COUNT, [f"QUERY {sql}"]).steps[0].components.progress == 0.0


def test_progress_is_binned_and_paid_for_improvement_only(table: Table) -> None:
    queries = ["SELECT count(*) FROM orders WHERE order_id % 2 = 0", "SELECT count(DISTINCT order_id) FROM orders"]
    episode = table.play(COUNT, [f"QUERY {sql}" for sql in (*queries, queries[0], "SELECT count(*) FROM orders")])
    assert [round(step.components.progress, 6) for step in episode.steps] == [0.075, 0.075, 0.0, 0.0]


def test_mistakes_cost_a_step_and_nothing_else(table: Table) -> None:
    actions = ["fly away", "DESCRIBE nowhere", "QUERY SELEC 1", "QUERY DROP TABLE orders", "QUERY SELECT x FROM orders"]
    episode = table.play(COUNT, actions)
    assert [parts(episode, index) for index in range(5)] == [{"cost": -0.005}] * 5
    assert all(step.error and not step.result for step in episode.steps)
    kinds = [type(step.outcome) for step in episode.steps]
    assert kinds == [type(None), type(None), Refused, Refused, SqlError]


def test_a_statement_over_its_limit_is_an_observation_and_the_episode_goes_on(table: Table) -> None:
    episode = table.start(COUNT)
    action = "SELECT count(*) FROM orders a, orders b, orders c, orders d, orders e"
    from services.contracts.actions import Query

    seen = episode.apply(Query(sql=action), LimitHit(reason="timeout", message="the statement ran out of time"))
    assert seen.error == "the statement ran out of time"
    assert not episode.over


def test_neither_gold_nor_a_host_path_is_in_what_the_agent_sees(table: Table) -> None:
    actions = ["DESCRIBE orders", "SAMPLE orders", "QUERY SELECT * FROM read_csv('/etc/passwd')", "QUERY SELECT 1 +"]
    episode = table.play(COUNT, actions)
    seen = " ".join(step.result + step.error for step in episode.steps)
    assert str(table.task_set.folder) not in seen
    assert "COUNT(*)" not in seen
    assert isinstance(table.run("retail", "SELECT count(*) FROM orders"), ResultTable)
