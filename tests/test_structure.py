"""Likeness of build: names and relations count, style does not, and no more than the cap is ever paid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.env_actor.rewards import RewardLedger
from services.grader.structure import likeness, structure_of
from tests.test_rewards import fractions, result

GOLD = "SELECT c.name, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name"

columns = st.sampled_from(["a.x", "b.x", "c.y", "a.y"])
statements = st.builds(
    lambda tables, left, right, call: f"SELECT {call}({left}) FROM {', '.join(tables)} WHERE {left} = {right}",
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
    columns,
    columns,
    st.sampled_from(["min", "max", "sum", "upper"]),
)


def alike(sql: str, gold: str = GOLD) -> float:
    return likeness(structure_of(sql), structure_of(gold))


@pytest.mark.parametrize(
    "sql",
    [
        "select COUNT(*), X.Name from ORDERS, Customers AS x where x.id = orders.Customer_ID group by 2",
        "WITH o AS (SELECT * FROM orders) SELECT count(*) FROM customers c JOIN orders ON orders.customer_id = c.id",
    ],
)
def test_the_same_build_in_another_style_is_alike(sql: str) -> None:
    assert alike(sql) == 1.0


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT name FROM customers", (0.5 + 0 + 0) / 3),
        ("SELECT sum(o.total) FROM customers c JOIN orders o ON o.customer_id = c.id", (1 + 1 + 0) / 3),
        ("SELECT count(*) FROM customers c JOIN orders o ON o.id = c.id", (1 + 0 + 1) / 3),
        ("SELECT 1", 0.0),
        ("SELECT (", 0.0),
        ("SELECT " + "(" * 500 + "1" + ")" * 500, 0.0),
    ],
)
def test_each_set_counts_a_third(sql: str, expected: float) -> None:
    assert alike(sql) == pytest.approx(expected)


@given(statements, statements)
def test_likeness_is_symmetric_and_whole_only_for_equal_structures(left: str, right: str) -> None:
    there, back = alike(left, right), alike(right, left)
    assert there == back
    assert 0 <= there <= 1
    assert (there == 1) == (structure_of(left) == structure_of(right))


@given(st.lists(fractions, min_size=1, max_size=20), st.floats(0, 0.05))
def test_no_more_than_the_cap_is_paid_and_nothing_by_default(values: list[float], cap: float) -> None:
    capped, default = RewardLedger(cap), RewardLedger()
    paid = [capped.query(result(i, ("t",), True, i), 0.0, value).structure for i, value in enumerate(values)]
    assert sum(paid) <= cap + 1e-9
    assert all(amount >= 0 for amount in paid)
    assert default.query(result(0, ("t",), True, 0), 0.0, 1.0).structure == 0
    assert capped.query(result(99, (), True, 0), 0.0, 1.0).structure == 0
