"""A notebook's SQL cells come out in order; a cell that could do more than SQL stops the import."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.etl.notebook import fill, read_notebook
from services.contracts.errors import BadInput

SQL = """-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Daily totals
-- MAGIC DROP TABLE everything

-- COMMAND ----------

-- DBTITLE 1,The day
USE sales;

-- COMMAND ----------

-- MAGIC %python
-- MAGIC dbutils.widgets.text("day", "")

-- COMMAND ----------

-- the totals
INSERT INTO daily
SELECT * FROM orders WHERE day = '${day}'
"""
PYTHON = '''# Databricks notebook source
from pyspark.sql import functions as F

# COMMAND ----------

# MAGIC %sql
# MAGIC INSERT INTO daily
# MAGIC   SELECT * FROM orders -- all

# COMMAND ----------

spark.sql("""OPTIMIZE daily""")
'''


def cell(text: str, head: str = "# Databricks notebook source\n") -> str:
    return head + text


def test_sql_cells_come_in_order_with_their_widgets_filled_in() -> None:
    read = read_notebook(SQL, {"day": "2026-03-01"})
    assert read.texts == (
        "USE sales;",
        "-- the totals\nINSERT INTO daily\nSELECT * FROM orders WHERE day = '2026-03-01'",
    )
    assert read.changes == (
        "cell 3: dbutils.widgets.text('day', '') is left out",
        "the parameter day is '2026-03-01'",
    )


def test_the_sql_of_a_python_notebook_is_read_from_its_magic_and_spark_sql() -> None:
    read = read_notebook(PYTHON, {})
    assert read.texts == ("INSERT INTO daily\n  SELECT * FROM orders -- all", "OPTIMIZE daily")
    assert "cell 1: from pyspark.sql import functions as F is left out" in read.changes


def test_a_plain_sql_file_is_one_text() -> None:
    assert read_notebook("SELECT 1;\nSELECT 2", {}).texts == ("SELECT 1;\nSELECT 2",)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (cell("df.write.saveAsTable('x')"), "cell 1: Python is not run here"),
        (cell('spark.sql(f"SELECT {x}")'), "may write rows"),
        (cell('spark.sql("SELECT 1").write.saveAsTable("x")'), "may write rows"),
        (cell('for x in y:\n    spark.sql("INSERT INTO a SELECT 1")'), "may write rows"),
        (cell("x ="), "its Python cannot be read"),
        (cell("# MAGIC %run ./other"), "%run is not run here"),
        (cell("# MAGIC %scala\n# MAGIC val x = 1"), "%scala is not run here"),
        (cell("# MAGIC INSERT INTO a SELECT 1"), "does not say which"),
        (cell("# MAGIC %md\n# MAGIC hello\nINSERT INTO a SELECT 1"), "mixes lines"),
        (cell("# MAGIC %md\n# MAGIC hello"), "no SQL cell"),
        ("SELECT ${day}", "the parameter day has no value; there are: none"),
        ("SELECT :day", "the parameter day has no value"),
    ],
)
def test_what_is_more_than_sql_is_refused(source: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        read_notebook(source, {})


@pytest.mark.parametrize(
    ("sql", "filled"),
    [
        ("day = :d", "day = '1'"),
        ("x::int, a:b.c, ':d', \":d\", `:d` -- :d", "x::int, a:b.c, ':d', \":d\", `:d` -- :d"),
        ("/* :d */ STRUCT<d: INT>, xs[1:2]", "/* :d */ STRUCT<d: INT>, xs[1:2]"),
        ("t_${d} {{ d }} getArgument('d')", "t_1 1 1"),
    ],
)
def test_only_parameters_are_filled_in(sql: str, filled: str) -> None:
    assert fill(sql, {"d": "1"})[0] == filled


@given(st.text())
def test_a_named_parameter_is_one_text_whatever_it_holds(value: str) -> None:
    import sqlglot

    sql, _ = fill("SELECT :d", {"d": value})
    tree = sqlglot.parse_one(sql, read="databricks")
    assert [found.this for found in tree.expressions] == [value]
