"""Nobody is paid for anything but the same rows: every cheat on equality and scope that we know of is refused.

Equality is decided before anything is timed, so no cheat below costs a measurement. The judge and the runs are the
grader's own, without a process each; tests/test_etl_sandbox.py has those.
"""

import shutil
from collections.abc import Iterator

import duckdb
import pytest

from services.contracts.etl import ColumnRisk, EtlGrade
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.submission import grade_of
from services.grader.etl.variants import make_variant
from tests.etl_jobs import ORIGINAL, TABLES, etl_job, grader_here, public_folder

MAKE = "CREATE TABLE sales.daily AS "
QUERY = ORIGINAL.removeprefix(MAKE)
NAMES = ("region", "day", "orders", "known", "total", "largest")


def select(**columns: str) -> str:
    """The original's rows with some columns worked out otherwise."""
    listed = ", ".join(f"{columns[name]} AS {name}" if name in columns else name for name in NAMES)
    return f"{MAKE}SELECT {listed} FROM ({QUERY})"


@pytest.fixture(scope="module")
def making() -> Iterator[SubmissionGrader]:
    """The grader of a job that makes its output."""
    folder = public_folder()
    grader = grader_here(etl_job(folder))
    yield grader
    grader.close()
    shutil.rmtree(folder)


def graded(grader: SubmissionGrader, *statements: str) -> EtlGrade:
    made = grader.grade(statements)
    assert made.measurement is None, "it came as far as the clock"
    return grade_of(made)


OUT_OF_BOUNDS = {
    "production's output by its name": (f"{MAKE}FROM sales.daily",),
    "production's output by its file": (f"{MAKE}FROM read_parquet('{{after}}')",),
    "production's file as a table": (f"{MAKE}FROM '{{after}}'",),
    "the grader's folder": (f"{MAKE}FROM glob('{{grader}}/**')",),
    "the file names of the sources": (f"{MAKE}SELECT filename FROM parquet_metadata('{{source}}')",),
    "an attached database": ("ATTACH '{after}' AS gold", f"{MAKE}FROM gold.main.t"),
    "a file left behind": (ORIGINAL, "COPY sales.daily TO 'left.parquet'"),
    "a shadow of a source": (
        "CREATE TEMP TABLE orders AS FROM sales.orders LIMIT 0",
        ORIGINAL,
    ),
    "a shadow by the whole name": ('CREATE TEMP TABLE "sales.orders" AS FROM sales.orders LIMIT 0', ORIGINAL),
    "rows into a source": ("INSERT INTO sales.customers VALUES (40, 'region 1', 'x')", ORIGINAL),
    "rows out of a source": ("DELETE FROM sales.orders WHERE status = 'open'", ORIGINAL),
    "a source dropped": ("DROP VIEW sales.orders", ORIGINAL),
    "a pin by its own name": (f"{MAKE}FROM __pin_0",),
    "the stored output by its own name": (ORIGINAL, "INSERT INTO run.main.sales__daily FROM sales.daily"),
    "work moved into a view": (f"CREATE VIEW sales.daily AS {QUERY}",),
    "work moved into a generated column": ("CREATE TABLE sales.daily (region VARCHAR, n INT GENERATED ALWAYS AS (1))",),
    "work moved into a macro": (f"CREATE MACRO sales_daily() AS TABLE {QUERY}", ORIGINAL),
    "an aggregate of another meaning": ("CREATE MACRO sum(x) AS 1", ORIGINAL),
    "more threads": ("SET threads = 8", ORIGINAL),
    "a profile of one's own": ("PRAGMA disable_profiling", ORIGINAL),
    "two statements in one": (f"{ORIGINAL}; DELETE FROM sales.orders",),
    "a query closed early": (f"{MAKE}SELECT 1); DROP VIEW sales.orders; --",),
    "another result in a later run": (select(total="total * (random() < 0.9)::INT"),),
    "another result at a later time": (select(total="CASE WHEN now() < TIMESTAMP '2020-01-01' THEN 0 ELSE total END"),),
    "the production job as a table": ('CREATE TEMP TABLE "4711" AS SELECT 1', ORIGINAL),
    "the production job in other digits": ('CREATE TEMP TABLE "４７１１" AS SELECT 1', ORIGINAL),
    "the production job in quotes and blanks": ("INSERT INTO \" '04711' \" VALUES (1)", ORIGINAL),
    "no output at all": ("CREATE TEMP TABLE mine AS FROM sales.orders",),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_what_is_out_of_bounds_is_never_run(name: str, making: SubmissionGrader) -> None:
    places = {
        "after": making.job.after.files[0],
        "grader": str(making.folder),
        "source": making.job.sources[0].files[0],
    }
    statements = [sql.replace("{after}", places["after"]) for sql in OUT_OF_BOUNDS[name]]
    statements = [sql.replace("{grader}", places["grader"]).replace("{source}", places["source"]) for sql in statements]
    made = making.grade(tuple(statements))
    assert made.refused is not None
    assert not made.checks
    grade = grade_of(made)
    assert (grade.reward, grade.equal) == (0.0, False)
    assert grade.verdict in ("violation", "invalid_sql")
    assert places["grader"] not in grade.reason


WRONG = {
    "every row three times": f"{MAKE}{QUERY} UNION ALL {QUERY} UNION ALL {QUERY}",
    "half of the rows twice": f"{MAKE}({QUERY}) UNION ALL FROM ({QUERY}) WHERE day < DATE '2024-02-01'",
    "a row too few": f"{MAKE}FROM ({QUERY}) WHERE NOT (region = 'region 1' AND day = DATE '2024-01-05')",
    "some of the rows": f"{MAKE}FROM ({QUERY}) LIMIT 10",
    "no row": f"{MAKE}FROM ({QUERY}) LIMIT 0",
    "all floats NULL": select(total="NULL::DOUBLE", largest="NULL::DOUBLE"),
    "all floats NaN": select(total="'nan'::DOUBLE", largest="'nan'::DOUBLE"),
    "all floats infinite": select(total="'inf'::DOUBLE"),
    "floats beside the truth": select(total="total * (1 + 9e-7)"),
    "floats within the tolerance, where nothing is added up": select(largest="largest * (1 + 5e-10)"),
    "rounded floats": select(total="round(total, -1)"),
    "a type of fewer digits": select(total="total::FLOAT"),
    "a narrower integer": select(orders="orders::INTEGER"),
    "numbers as text": select(orders="orders::VARCHAR"),
    "an extra column": f"{MAKE}SELECT *, 1 AS one FROM ({QUERY})",
    "a column less": f"{MAKE}SELECT * EXCLUDE (known) FROM ({QUERY})",
    "columns in another order": f"{MAKE}SELECT day, * EXCLUDE (day) FROM ({QUERY})",
    "a column of another name": f"{MAKE}SELECT * RENAME (known AS Known) FROM ({QUERY})",
    "garbage in a carried column": select(region="region || ' '"),
    "values of another row": select(largest="lag(largest, 1, largest) OVER (ORDER BY day, region)"),
    "the count of another column": ORIGINAL.replace("count(o.status)", "count(*)"),
    "NULLs lost in the filter": ORIGINAL.replace("OR o.status IS NULL", ""),
    "a join that keeps rows without a partner": ORIGINAL.replace("JOIN", "LEFT JOIN"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_output_is_seen_beside_production_s(name: str, making: SubmissionGrader) -> None:
    grade = graded(making, WRONG[name])
    assert (grade.verdict, grade.reward, grade.equal) == ("incorrect", 0.0, False)
    assert "production" in grade.reason


def remembered(grader: SubmissionGrader) -> str:
    """Production's rows, written into the statement."""
    rows = duckdb.sql(f"FROM '{grader.job.after.files[0]}'").fetchall()
    values = ", ".join(
        f"('{a}', DATE '{b}', {c}::BIGINT, {d}::BIGINT, {e}::DOUBLE, {f}::DOUBLE)" for a, b, c, d, e, f in rows
    )
    return f"{MAKE}SELECT * FROM (VALUES {values}) AS kept({', '.join(NAMES)})"


GUESSED = ORIGINAL.replace("c.region", "'region ' || (o.customer % 4)").replace(", o.day,", " AS region, o.day,", 1)
FIRST, COUNT = (f"(SELECT {what} FROM sales.orders)" for what in ("first(id)", "count(*)"))
LUCKY = {
    "a filter that production's dates do not need": ORIGINAL.replace("WHERE", "WHERE o.day >= DATE '2024-01-01' AND ("),
    "a region that is guessed": GUESSED,
    "a constant that happens to be right": select(largest="least(largest, 100)"),
    "the sum of what happens to be positive": ORIGINAL.replace("sum(o.amount)", "sum(abs(o.amount))"),
    "rows that happen to come once": ORIGINAL.replace("sales.orders o", "(SELECT DISTINCT * FROM sales.orders) o"),
    "a text that happens to be clean": ORIGINAL.replace("'paid' OR", "'paid' OR lower(trim(o.status)) = 'paid' OR"),
    "an order that happens to be so": select(largest=f"CASE WHEN {FIRST} = 1 THEN largest END"),
    "as many rows as production had": select(total=f"CASE WHEN {COUNT} = 900 THEN total END"),
}  # fmt: skip


@pytest.mark.parametrize("name", LUCKY)
def test_what_is_right_on_production_s_rows_alone_is_wrong(name: str, making: SubmissionGrader) -> None:
    sql = LUCKY[name]
    made = making.grade(
        (f"{sql[: sql.index(' GROUP BY')]}) {sql[sql.index('GROUP BY') :]}" if "AND (" in sql else sql,)
    )
    assert [check.equal for check in made.checks[:1]] == [True], made
    assert made.measurement is None
    assert grade_of(made).reward == 0.0
    assert grade_of(made).verdict == "incorrect"


def test_production_s_rows_by_heart_are_no_rewrite(making: SubmissionGrader) -> None:
    grade = graded(making, remembered(making))
    assert (grade.verdict, grade.reward) == ("incorrect", 0.0)
    assert "dropped" in grade.reason


def test_the_rows_that_are_timed_are_not_production_s(making: SubmissionGrader) -> None:
    folder = public_folder()
    near = make_variant(making.job, making.ground, "near", 7, folder / "near")
    assert near is not None
    for table, pinned in zip(near.sources, making.ground.sources, strict=True):
        assert 0.9 * pinned.rows < table.rows <= pinned.rows
    assert near.sources[0].rows < making.ground.sources[0].rows
    shutil.rmtree(folder)


DAYS = "day BETWEEN DATE '2024-02-01' AND DATE '2024-02-03'"
INCREMENT = (
    "INSERT INTO sales.daily SELECT o.day, o.customer, sum(o.amount) AS total, count(*) AS orders "
    f"FROM sales.orders o WHERE {DAYS} GROUP BY o.day, o.customer"
)
HISTORY = (
    "SELECT o.day, o.customer, sum(o.amount) AS total, count(*) AS orders FROM sales.orders o "
    "WHERE o.day < DATE '2024-02-01' GROUP BY o.day, o.customer"
)
PARTS = {
    "one day of three": INCREMENT.replace("DATE '2024-02-03'", "DATE '2024-02-01'"),
    "a day more": INCREMENT.replace("DATE '2024-02-03'", "DATE '2024-02-04'"),
    "nothing": INCREMENT.replace("GROUP BY", "AND false GROUP BY"),
    "the increment twice": (INCREMENT, INCREMENT),
    "another day beside it": (INCREMENT, "INSERT INTO sales.daily VALUES (DATE '2030-01-01', 1, 1, 1)"),
    "old rows taken away": ("DELETE FROM sales.daily WHERE day < DATE '2024-01-15'", INCREMENT),
    "old rows changed": ("UPDATE sales.daily SET total = 0 WHERE day = DATE '2024-01-01'", INCREMENT),
    "the sum without its zeros": INCREMENT.replace("WHERE", "WHERE o.amount > 0 AND"),
}


@pytest.fixture(scope="module")
def adding() -> Iterator[SubmissionGrader]:
    """The grader of a job that adds three days to its output."""
    folder = public_folder()
    job = etl_job(folder, (INCREMENT,), {"sales.orders": TABLES["sales.orders"]}, mode="insert", before=HISTORY)
    touched = tuple(f"day = DATE '2024-02-0{day}'" for day in (1, 2, 3))
    grader = grader_here(job.model_copy(update={"touched": touched}))
    yield grader
    grader.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", PARTS)
def test_an_increment_is_bounded_by_what_production_wrote(name: str, adding: SubmissionGrader) -> None:
    statements = PARTS[name]
    grade = graded(adding, *((statements,) if isinstance(statements, str) else statements))
    assert (grade.verdict, grade.reward) == ("incorrect", 0.0)


@pytest.mark.parametrize(
    "sql", ["CREATE OR REPLACE TABLE sales.daily AS FROM sales.orders", "DROP TABLE sales.daily"]
)  # fmt: skip
def test_the_output_of_an_increment_cannot_be_made_anew(sql: str, adding: SubmissionGrader) -> None:
    assert graded(adding, sql, INCREMENT).verdict == "violation"


STAMPED = ORIGINAL.replace("max(o.amount) AS largest", "now() AS loaded_at")
GATES = {
    "left out": STAMPED.replace(", now() AS loaded_at", ""),
    "of another type": STAMPED.replace("now()", "CAST(now() AS DATE)"),
    "of another name": STAMPED.replace("loaded_at", "at_loaded"),
    "at another place": STAMPED.replace(", now() AS loaded_at", "").replace("SELECT", "SELECT now() AS loaded_at,"),
    "of the right type, and another column is wrong": STAMPED.replace("count(*)", "1 + count(*)"),
    "a sum that rides the tolerance": STAMPED.replace("sum(o.amount)", "sum(o.amount) * (1 + 1e-8)"),
    "a sum that is NULL": STAMPED.replace("sum(o.amount)", "CAST(NULL AS DOUBLE)"),
}


@pytest.fixture(scope="module")
def stamping() -> Iterator[SubmissionGrader]:
    """The grader of a job whose last column is a stamp, left out, and whose sum may drift."""
    folder = public_folder()
    job = etl_job(folder, (STAMPED,))
    risks = (
        ColumnRisk(column="total", kind="E", reason="a sum"),
        ColumnRisk(column="loaded_at", kind="A", reason="a clock"),
    )
    grader = grader_here(job.model_copy(update={"excluded": ("loaded_at",), "risks": risks}))
    yield grader
    grader.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", GATES)
def test_a_column_that_is_left_out_must_still_be_there(name: str, stamping: SubmissionGrader) -> None:
    grade = graded(stamping, GATES[name])
    assert (grade.verdict, grade.reward) == ("incorrect", 0.0)


def test_there_are_cheats_enough() -> None:
    assert sum(map(len, (OUT_OF_BOUNDS, WRONG, LUCKY, PARTS, GATES))) >= 70
