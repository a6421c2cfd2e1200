"""What may not change the classes: names, nesting, and tables in between."""

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from services.grader.etl.nondeterminism.classes import classify
from tests.nondeterminism import job_of, output_of, statements_of

QUERIES = (
    "SELECT id, status, now() AS loaded_at FROM orders",
    "SELECT customer_id, sum(amount) AS total, any_value(status) AS s, list(qty) AS l FROM orders GROUP BY customer_id",
    "SELECT customer_id, ts, status FROM (SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY ts) AS rn "
    "FROM orders) ranked WHERE rn = 1",
    "SELECT o.id, c.name, row_number() OVER (ORDER BY o.id) AS rn FROM orders o "
    "JOIN customers c ON c.id = o.customer_id",
    "SELECT * FROM orders ORDER BY ts LIMIT 5",
    "SELECT customer_id, round(sum(amount), 1) AS total FROM orders GROUP BY customer_id HAVING sum(amount) > 3",
    "SELECT DISTINCT ON (customer_id) customer_id, ts, qty FROM orders ORDER BY customer_id, ts DESC",
    "SELECT customer_id, lag(qty) OVER (PARTITION BY customer_id ORDER BY ts, id) AS q FROM orders",
)
queries = st.sampled_from(QUERIES)
names = st.from_regex(r"[a-z]{3,8}_x", fullmatch=True)


def classes(sql: str | tuple[str, ...]) -> list[tuple[str | None, str]]:
    return [(risk.column, risk.kind) for risk in classify(job_of(sql)).risks]


@given(queries, st.lists(names, min_size=3, max_size=3, unique=True))
@settings(max_examples=12, deadline=None)
def test_other_aliases_of_tables_leave_the_classes(sql: str, aliases: list[str]) -> None:
    tree = parse_one(sql, read="duckdb")
    new = dict(zip(("o", "c", "ranked"), aliases, strict=True))
    for node in (*tree.find_all(exp.TableAlias), *tree.find_all(exp.Column)):
        part = node.this if isinstance(node, exp.TableAlias) else node.args.get("table")
        if part is not None and part.name in new:
            part.set("this", new[part.name])
    assert classes(tree.sql("duckdb")) == classes(sql)


@given(queries, st.lists(st.sampled_from(["cte", "subquery", "columns"]), max_size=3))
@settings(max_examples=12, deadline=None)
def test_ctes_and_subqueries_around_a_query_leave_its_classes(sql: str, layers: list[str]) -> None:
    columns = ", ".join(column.name for column in output_of(statements_of(sql)))
    nested = sql
    for place, layer in enumerate(layers):
        match layer:
            case "cte":
                nested = f"WITH layer_{place} AS ({nested}) SELECT * FROM layer_{place}"
            case "subquery":
                nested = f"SELECT * FROM ({nested}) layer_{place}"
            case _:
                nested = f"SELECT {columns} FROM ({nested}) AS layer_{place}"
    assert classes(nested) == classes(sql)


@given(queries, st.sampled_from(["TEMP TABLE", "TABLE", "VIEW"]))
@settings(max_examples=8, deadline=None)
def test_a_table_in_between_leaves_the_classes(sql: str, kind: str) -> None:
    through = (f"CREATE {kind} staged AS {sql}", "CREATE TABLE out AS SELECT * FROM staged")
    assert classes(through) == classes(sql)


@given(queries)
@settings(max_examples=8, deadline=None)
def test_an_insert_into_an_empty_table_leaves_the_classes(sql: str) -> None:
    columns = ", ".join(f"{column.name} {column.type}" for column in output_of(statements_of(sql)))
    assert classes((f"CREATE TABLE out ({columns})", f"INSERT INTO out {sql}")) == classes(sql)
