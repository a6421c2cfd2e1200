"""Which statements join two tables on their keys, by their syntax tree, and what is left when the join is cut."""

import pytest

from services.grader.analyst.gold import KeyColumn
from services.grader.analyst.joins import MAX_CHARACTERS, MAX_JOINS, MAX_NESTING, severed

TABLES = {"sales": ("sale_id", "product_id", "sold_on", "quantity"), "products": ("product_id", "category")}
KEYS = (KeyColumn(table="sales", column="product_id"), KeyColumn(table="products", column="product_id"))
ON = "s.product_id = p.product_id"
JOINED = f"FROM sales s JOIN products p ON {ON}"


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT category, sum(quantity) {JOINED} GROUP BY 1 ORDER BY 2 DESC",
        "SELECT category FROM sales JOIN products USING (product_id)",
        "SELECT category FROM sales NATURAL JOIN products",
        f"SELECT category FROM sales s, products p WHERE {ON} AND sold_on LIKE '2024%'",
        f"SELECT category FROM sales s LEFT JOIN products p ON {ON} AND quantity > 1",
        'SELECT "p"."category" FROM "Sales" S JOIN Products p ON CAST(s.Product_ID AS TEXT) = p.product_id::TEXT',
        f"SELECT lower(category) AS kind, sum(quantity) AS sold {JOINED} GROUP BY kind HAVING sold > 1 ORDER BY sold",
        f"WITH t AS (SELECT s.*, category {JOINED}) SELECT category, sum(quantity) FROM t GROUP BY ALL",
        "WITH a AS (SELECT DISTINCT * FROM sales), b AS (SELECT product_id AS k, category FROM products) "
        "SELECT category FROM a JOIN b ON a.product_id = b.k",
        f"SELECT category {JOINED} UNION ALL SELECT 'all'",
    ],
)
def test_a_join_on_the_keys_is_found_and_cut(sql: str) -> None:
    cut = severed(sql, TABLES, KEYS)
    assert cut is not None
    assert "FALSE" in cut
    assert severed(cut, TABLES, KEYS) is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT category FROM sales s, products p",
        f"SELECT category FROM sales s JOIN products p ON {ON} OR true",
        f"SELECT category FROM sales s JOIN products p ON NOT {ON}",
        "SELECT category FROM sales s JOIN products p ON p.product_id = p.product_id",
        "SELECT category FROM sales s JOIN products p ON s.sale_id = p.product_id",
        f"SELECT category {JOINED}, products other",
        f"WITH unused AS (SELECT category {JOINED}) SELECT category FROM products",
        f"SELECT category FROM products p ANTI JOIN sales s ON {ON}",
        "SELECT 'INNER JOIN products ON s.product_id = p.product_id'",
        f"SELECT category FROM products -- {JOINED}",
        "SELECT category FROM products p WHERE product_id IN (SELECT product_id FROM sales)",
        "SELECT 1",
        "selec",
        "",
    ],
)
def test_what_only_looks_like_a_join_is_none(sql: str) -> None:
    assert severed(sql, TABLES, KEYS) is None


BOMBS = {
    "columns that double": "WITH a0 AS (SELECT * FROM sales JOIN products USING (product_id))"
    + "".join(f", a{n + 1} AS (SELECT * FROM a{n} x, a{n} y)" for n in range(8))
    + " SELECT count(*) FROM a8",
    "aliases that double": "SELECT product_id AS c1, "
    + ", ".join(f"c{n} + c{n} AS c{n + 1}" for n in range(1, 60))
    + " FROM sales JOIN products USING (product_id)",
    "scopes that double": "WITH a0 AS (SELECT 1 AS c FROM sales JOIN products USING (product_id))"
    + "".join(f", a{n + 1} AS (SELECT x.c FROM a{n} x JOIN a{n} y ON x.c = y.c)" for n in range(18))
    + " SELECT c FROM a18",
    "a long chain of AND": f"SELECT category {JOINED} WHERE " + " AND ".join(["sold_on = 'a'"] * 250),
    "many signs": f"SELECT {'- ' * 2400}1 {JOINED}",
    "many NOT": f"SELECT 1 {JOINED} WHERE {'NOT ' * 1200}true",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_text_made_to_keep_its_reader_busy_does_not(name: str) -> None:
    assert len(BOMBS[name]) <= MAX_CHARACTERS
    severed(BOMBS[name], TABLES, KEYS)


def test_a_text_that_is_too_long_too_deep_or_has_too_many_joins_is_not_read() -> None:
    joins = " ".join(f"JOIN products p{n} ON p{n}.product_id = s.product_id" for n in range(MAX_JOINS + 1))
    deep = "(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1)
    for sql in (
        f"SELECT 1 FROM sales s {joins}",
        f"SELECT {deep} {JOINED}",
        f"SELECT 1 {JOINED}" + " " * MAX_CHARACTERS,
    ):
        assert severed(sql, TABLES, KEYS) is None
    assert severed(f"SELECT {deep[1:-1]} {JOINED}", TABLES, KEYS) is not None
