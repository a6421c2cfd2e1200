"""What slipped through, or was wrongly refused, elsewhere: ten cases of a keyed join, and hashes that can be forged."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.grader.tables.compare import compare
from services.grader.tables.verdict import Comparison, TableJob, TableRules

REFERENCE = """
    SELECT i AS id, (i % 5)::INTEGER AS store, DATE '2026-01-01' + (i % 3)::INTEGER AS day,
           'item ' || i % 7 AS item, sqrt(i + 1) AS amount, ln(i + 2) AS score FROM range(3000) r(i)
"""
Judge = Callable[..., Comparison]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Compares what two queries give; `reference` is a view that both may read."""

    def judged(right: str, left: str = "SELECT * FROM reference", **rules: object) -> Comparison:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW reference AS {REFERENCE}")
            for name, query in (("left", left), ("right", right)):
                connection.execute(f"COPY ({query}) TO '{tmp_path}/{name}.parquet'")
        job = TableJob(
            left=f"{tmp_path}/left.parquet",
            right=f"{tmp_path}/right.parquet",
            rules=TableRules.model_validate(rules),
        )
        return compare(job)

    return judged


CHEATS = {
    "every row tripled": "SELECT r.* FROM reference r, range(3)",
    "half of the rows doubled": "FROM reference UNION ALL FROM reference WHERE id % 2 = 0",
    "all doubles NULL": "SELECT * REPLACE (NULL::DOUBLE AS amount, NULL::DOUBLE AS score) FROM reference",
    "all doubles NaN": "SELECT * REPLACE ('nan'::DOUBLE AS amount, 'nan'::DOUBLE AS score) FROM reference",
    "all doubles infinite": "SELECT * REPLACE ('inf'::DOUBLE AS amount, '-inf'::DOUBLE AS score) FROM reference",
    "floats off by 9e-7": "SELECT * REPLACE (amount * (1 + 9e-7) AS amount) FROM reference",
    "an extra column": "SELECT *, 1 AS more FROM reference",
    "one of three days written": "FROM reference WHERE day = DATE '2026-01-01'",
    "garbage in a carried column": "SELECT * REPLACE ('item ' || (id + 1) % 7 AS item) FROM reference",
}


@pytest.mark.parametrize("key", [(), ("id",)], ids=["bag", "keyed"])
@pytest.mark.parametrize("query", CHEATS.values(), ids=CHEATS.keys())
def test_what_a_keyed_join_let_pass_is_different(judge: Judge, query: str, key: tuple[str, ...]) -> None:
    found = judge(query, key=key)
    assert found.verdict == "different"
    assert found.counterexamples or found.schema_differences


HONEST = {
    "NULL in the first key column": (
        "SELECT CASE WHEN id % 10 > 0 THEN id END AS id, * EXCLUDE (id) FROM reference",
        ("id", "store"),
    ),
    "duplicate natural keys": ("SELECT * FROM reference UNION ALL FROM reference WHERE id < 100", ("store", "day")),
}


@pytest.mark.parametrize(("query", "key"), HONEST.values(), ids=HONEST.keys())
def test_what_a_keyed_join_refused_is_identical(judge: Judge, query: str, key: tuple[str, ...]) -> None:
    assert judge(f"FROM ({query}) ORDER BY hash(id, amount)", left=query, key=key).verdict == "identical"


def test_the_counts_say_what_happened(judge: Judge) -> None:
    tripled = judge(CHEATS["every row tripled"], key=("id",))
    assert (tripled.missing, tripled.extra, tripled.changed) == (0, 6000, 0)
    garbage = judge("SELECT * REPLACE (CASE id WHEN 7 THEN 'x' ELSE item END AS item) FROM reference", key=("id",))
    assert (garbage.missing, garbage.extra, garbage.changed) == (0, 0, 1)
    assert garbage.counterexamples[0].columns == ("item",)
    bag = judge("SELECT * REPLACE (CASE id WHEN 7 THEN 'x' ELSE item END AS item) FROM reference")
    assert (bag.missing, bag.extra, bag.changed) == (1, 1, 0)
    assert bag.counterexamples[0].columns == ("item",)
    assert bag.counterexamples[0].right is not None
    assert bag.counterexamples[0].right["item"] == "x"


def test_a_sum_in_another_order_is_drift_and_said_per_column(judge: Judge) -> None:
    found = judge("SELECT * REPLACE (amount * (1 + 1e-13) AS amount) FROM reference ORDER BY amount DESC")
    assert found.verdict == "within_tolerance"
    (drift,) = found.drift
    assert drift.column == "amount"
    assert 5e-14 < drift.worst_relative < 2e-13
    assert 2900 < drift.rows <= 3000
    assert judge("SELECT 0.3::DOUBLE AS x", left="SELECT 0.1::DOUBLE + 0.2::DOUBLE AS x").verdict == "within_tolerance"


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        ("-0.0::DOUBLE", "0.0::DOUBLE", "identical"),
        ("[-0.0::DOUBLE]", "[0.0::DOUBLE]", "identical"),
        ("5e-324::DOUBLE", "0.0::DOUBLE", "different"),
        ("5e-324::DOUBLE", "1e-323::DOUBLE", "different"),
        ("1e-12::DOUBLE", "2e-12::DOUBLE", "different"),
        ("'nan'::DOUBLE", "'nan'::DOUBLE", "identical"),
        ("'inf'::DOUBLE", "1.7976931348623157e308::DOUBLE", "different"),
        ("'inf'::DOUBLE", "'-inf'::DOUBLE", "different"),
        ("1.7976931348623157e308::DOUBLE", "-1.7976931348623157e308::DOUBLE", "different"),
        ("NULL::DOUBLE", "0.0::DOUBLE", "different"),
        ("''", "NULL::VARCHAR", "different"),
        ("1::DOUBLE", "1::FLOAT", "different"),
        ("1::INTEGER", "1::BIGINT", "different"),
        ("1.50::DECIMAL(10,2)", "1.500::DECIMAL(10,3)", "different"),
        ("1.50::DECIMAL(10,2)", "1.50::DECIMAL(10,2)", "identical"),
        ("1.0000000001::DECIMAL(20,10)", "1::DECIMAL(20,10)", "different"),
        ("TIMESTAMPTZ '2026-01-01 12:00:00+02'", "TIMESTAMPTZ '2026-01-01 10:00:00+00'", "identical"),
        ("TIMESTAMPTZ '2026-01-01 12:00:00+00'", "TIMESTAMP '2026-01-01 12:00:00'", "different"),
        ("TIMESTAMP '2026-01-01 12:00:00'", "TIMESTAMP '2026-01-01 12:00:00.000001'", "different"),
        ("[1, NULL]", "[NULL, 1]", "different"),
        ("[[1], []]", "[[], [1]]", "different"),
        ("[]::INTEGER[]", "NULL::INTEGER[]", "different"),
        ("{'a': 1, 'b': NULL}", "{'a': NULL, 'b': 1}", "different"),
        ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", "different"),
        ("MAP {'x': 1}", "MAP {'x': 2}", "different"),
        ("'a'", "'a' || chr(0)", "different"),
    ],
)
def test_one_value_against_another(judge: Judge, left: str, right: str, verdict: str) -> None:
    found = judge(f"SELECT {right} AS x", left=f"SELECT {left} AS x")
    assert found.verdict == verdict
    assert judge(f"SELECT {left} AS x", left=f"SELECT {right} AS x").verdict == verdict


def test_atol_follows_the_size_of_a_column(judge: Judge) -> None:
    tiny = "SELECT i * 1e-15 AS x FROM range(1, 9) r(i)"
    assert judge("SELECT i * 2e-15 AS x FROM range(1, 9) r(i)", left=tiny).verdict == "different"
    near_zero = "SELECT unnest([1e6, 1e6, 1e6, 1e6, {}]) AS x"
    assert judge(near_zero.format("0.0"), left=near_zero.format("1e-10")).verdict == "within_tolerance"
    huge = "SELECT unnest([0.0, 1e200, 1.0]) AS x"
    assert judge(huge, left="SELECT unnest([0.0, 1.0, 1.0]) AS x").verdict == "different"


MASK = (1 << 64) - 1
ODD = 0xD6E8FEB86659FD93


def unmixed(value: int) -> int:
    """The BIGINT to which DuckDB's hash gives a value."""
    inverse = pow(ODD, -1, 1 << 64)
    for _ in range(2):
        value ^= value >> 32
        value = value * inverse & MASK
    value ^= value >> 32
    return value - (1 << 64) if value >> 63 else value


def test_a_bag_forged_against_salted_sums_of_hashes_is_found(judge: Judge) -> None:
    forged, honest = ([unmixed(value) for value in pair] for pair in ((1, 2), (0, 3)))
    with duckdb.connect() as connection:
        agreed = connection.execute(
            "SELECT count(*) FROM range(1000) s(salt) WHERE "
            f"(SELECT sum(hash(md5(salt::VARCHAR), x)) FROM unnest({forged}::BIGINT[]) t(x)) = "
            f"(SELECT sum(hash(md5(salt::VARCHAR), x)) FROM unnest({honest}::BIGINT[]) t(x))"
        ).fetchone()
    assert agreed == (1000,)
    query = "SELECT unnest({}::BIGINT[]) AS x"
    found = judge(query.format(forged), left=query.format(honest))
    assert found.verdict == "different"
    assert (found.missing, found.extra) == (2, 2)


def test_bags_with_the_same_columns_and_sums_of_columns_are_told_apart(judge: Judge) -> None:
    rows = "SELECT unnest([{'a': 0, 'b': 0}, {'a': 1, 'b': 1}], recursive := true)"
    crossed = "SELECT unnest([{'a': 0, 'b': 1}, {'a': 1, 'b': 0}], recursive := true)"
    assert judge(crossed, left=rows).verdict == "different"


def test_what_files_say_of_their_floats_changes_no_verdict(tmp_path: Path) -> None:
    values = {
        "one": [1.0, 2.0, None],
        "two": [2.0, None, 1.0],
        "three": [1.0, 3.0, None],
        "four": [1.0, 2.0 + 1e-12, None],
    }
    for name, column in values.items():
        for told in (True, False):
            pq.write_table(pa.table({"x": column}), tmp_path / f"{name}{told}.parquet", write_statistics=told)
    verdicts = {"one": "identical", "two": "identical", "three": "different", "four": "within_tolerance"}
    for name, verdict in verdicts.items():
        for told, other in product((True, False), repeat=2):
            job = TableJob(left=f"{tmp_path}/one{told}.parquet", right=f"{tmp_path}/{name}{other}.parquet")
            assert compare(job).verdict == verdict


def test_without_examples_only_the_verdict_is_given(judge: Judge) -> None:
    found = judge("FROM reference WHERE id > 0", examples=0)
    assert (found.verdict, found.missing, found.counterexamples) == ("different", None, ())


def test_a_column_is_left_out_by_its_name_only(judge: Judge) -> None:
    stamped = "SELECT *, now() AS run_at, uuid() AS run FROM reference"
    assert judge(stamped).verdict == "different"
    assert judge(stamped, ignore=("run_at", "run")).verdict == "identical"
    assert judge("SELECT * REPLACE (0::DOUBLE AS score) FROM reference", ignore=("score",)).verdict == "identical"


def test_the_order_of_columns_counts(judge: Judge) -> None:
    found = judge("SELECT * EXCLUDE (id), id FROM reference")
    assert found.verdict == "different"
    assert found.schema_differences[0].left == "id"
