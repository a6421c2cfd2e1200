"""Where a table may lie, and what is said when it cannot be read or does not stay the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from services.contracts.errors import BadInput, Infrastructure
from services.grader.tables.compare import compare
from services.grader.tables.source import open_source
from services.grader.tables.verdict import Comparison, TableJob, TableRules

TABLE = pa.table(
    {
        "id": pa.array(range(1000), pa.int64()),
        "name": [f"name {i % 9}" for i in range(1000)],
        "day": pa.array([i % 7 for i in range(1000)], pa.int32()),
        "x": pa.array([None if i % 10 == 0 else i / 7 for i in range(1000)], pa.float64()),
        "tags": pa.array([["a"] * (i % 3) for i in range(1000)], pa.list_(pa.string())),
        "price": pa.array(list(range(1000)), pa.int64()).cast(pa.decimal128(21, 2)),
    }
)


def judged(left: object, right: object, **rules: Any) -> Comparison:
    return compare(TableJob(left=str(left), right=str(right), rules=TableRules(**rules)))


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "table.parquet", row_group_size=300)
    return tmp_path / "table.parquet"


def in_folder(path: Path) -> str:
    (path / "deep").mkdir(parents=True)
    pq.write_table(TABLE.slice(600), path / "a.parquet")
    pq.write_table(TABLE.slice(0, 600), path / "deep" / "b.parquet", use_dictionary=False)
    (path / "_SUCCESS").write_text("")
    return str(path)


def in_delta(path: Path) -> str:
    write_deltalake(str(path), TABLE.slice(0, 100))
    write_deltalake(str(path), TABLE.slice(100), mode="append")
    return str(path)


def in_parted_delta(path: Path) -> str:
    write_deltalake(str(path), TABLE, partition_by=["day"])
    return str(path)


def in_duckdb(path: Path) -> str:
    path.mkdir()
    pq.write_table(TABLE, path / "rows.parquet")
    with duckdb.connect(str(path / "some.duckdb")) as connection:
        connection.execute('CREATE SCHEMA "s p"')
        connection.execute(f'CREATE TABLE "s p"."my table" AS FROM \'{path}/rows.parquet\' ORDER BY hash(id)')
    return f"{path}/some.duckdb::s p.my table"


@pytest.mark.parametrize("place", [in_folder, in_delta, in_parted_delta, in_duckdb])
def test_the_same_table_is_identical_wherever_it_lies(
    parquet: Path, tmp_path: Path, place: Callable[[Path], str]
) -> None:
    where = place(tmp_path / "other")
    found = judged(parquet, where, key=("id",))
    assert found.verdict == "identical"
    assert (found.left_rows, found.right_rows) == (1000, 1000)
    changed = TABLE.set_column(1, "name", [["name 0"] * 1000])
    pq.write_table(changed, tmp_path / "changed.parquet")
    assert judged(where, tmp_path / "changed.parquet", key=("id",)).changed == 888


def test_a_delta_table_is_read_at_a_version(parquet: Path, tmp_path: Path) -> None:
    where = in_delta(tmp_path / "delta")
    assert judged(where, f"{where}@1").verdict == "identical"
    assert judged(f"{where}@0", where).extra == 900
    with pytest.raises(BadInput, match="cannot read the Delta table"):
        judged(where, f"{where}@7")


def test_what_the_log_of_a_delta_table_says_of_its_files_is_not_believed(parquet: Path, tmp_path: Path) -> None:
    where = Path(in_parted_delta(tmp_path / "delta"))
    (log,) = (where / "_delta_log").glob("*.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for added in (line["add"] for line in lines if "add" in line):
        stats = json.loads(added["stats"])
        del stats["minValues"]["id"], stats["maxValues"]["id"]
        stats["nullCount"]["id"] = stats["numRecords"]
        added["stats"] = json.dumps(stats)
    log.write_text("\n".join(map(json.dumps, lines)))
    assert judged(parquet, where).verdict == "identical"


def test_a_table_cannot_borrow_the_files_of_another(parquet: Path, tmp_path: Path) -> None:
    where = Path(in_delta(tmp_path / "delta"))
    (log,) = (where / "_delta_log").glob("*1.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = "../table.parquet"
    log.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.parquet").symlink_to(parquet)
    for borrowing in (where, tmp_path / "folder"):
        with pytest.raises(BadInput, match="leads out of its table's folder"):
            judged(parquet, borrowing)


def test_the_same_duckdb_table_may_be_given_twice(tmp_path: Path) -> None:
    where = in_duckdb(tmp_path / "other")
    assert judged(where, where).verdict == "identical"


def test_types_of_duckdb_that_arrow_lacks_are_compared(tmp_path: Path) -> None:
    query = (
        "SELECT {0}::HUGEINT AS a, '12:00:00+0{0}'::TIMETZ AS b, '10{0}'::BIT AS c, {0} * INTERVAL 1 MONTH AS d, "
        "('0000000{0}-0000-0000-0000-000000000000')::UUID AS e, 'x{0}'::ENUM('x0', 'x1') AS f, TIME '0{0}:00:00' AS g,"
        "'{{\"a\": {0}}}'::JSON AS h, [{0}, 2]::INTEGER[2] AS i, ('\\x0' || '{0}')::BLOB AS j, TRUE AS k, "
        "{0}::UTINYINT AS l"
    )
    for name, value in (("one", 0), ("two", 1), ("three", 0)):
        with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as connection:
            connection.execute(f"CREATE TABLE t AS {query.format(value)}")
    one, two, three = (f"{tmp_path}/{name}.duckdb::t" for name in ("one", "two", "three"))
    assert judged(one, three).verdict == "identical"
    (example,) = judged(one, two).counterexamples
    assert set(example.columns) == set("abcdefghijl")


def test_a_partitioned_folder_keeps_the_columns_of_its_paths(tmp_path: Path) -> None:
    for folder, order in (("one", (1, 2)), ("two", (2, 1))):
        for day, rows in zip(order, (TABLE.slice(0, 500), TABLE.slice(500)), strict=True):
            (tmp_path / folder / f"d={day}").mkdir(parents=True)
            pq.write_table(rows, tmp_path / folder / f"d={day}" / "part.parquet")
    assert judged(tmp_path / "one", tmp_path / "one").verdict == "identical"
    assert judged(tmp_path / "one", tmp_path / "two").verdict == "different"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path / "none.parquet", "there is nothing at"),
        (lambda path: path, "no .parquet file and no _delta_log"),
        (lambda path: write(path / "text.parquet", b"a,b\n1,2\n"), "is not a Parquet file"),
        (lambda path: write(path / "text.duckdb", b"nothing") + "::t", "cannot open the DuckDB file"),
        (lambda path: f"{path}/none.duckdb::t", "there is no file at"),
        (lambda path: database(path) + "::nothing", "there is no table nothing"),
        (lambda path: database(path) + "::v", "views are not read"),
        (lambda path: database(path) + "::u", "column u of"),
    ],
)
def test_what_cannot_be_read_is_bad_input(
    parquet: Path, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=said):
        judged(parquet, make(tmp_path / "empty"))


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def database(path: Path) -> str:
    with duckdb.connect(str(path / "d.duckdb")) as connection:
        connection.execute("CREATE TABLE u AS SELECT union_value(a := 1) AS u; CREATE VIEW v AS SELECT 1 AS id")
    return str(path / "d.duckdb")


def test_wrong_column_names_are_bad_input(parquet: Path) -> None:
    with pytest.raises(BadInput, match=r"unknown key column nam; did you mean name\?"):
        judged(parquet, parquet, key=("nam",))
    with pytest.raises(BadInput, match="unknown ignored column z"):
        judged(parquet, parquet, ignore=("z",))
    with pytest.raises(BadInput, match="cannot be ignored"):
        judged(parquet, parquet, key=("id",), ignore=("id",))
    with pytest.raises(BadInput, match="no column is left"):
        judged(parquet, parquet, ignore=tuple(TABLE.schema.names))


def test_files_of_a_folder_with_other_columns_are_refused(tmp_path: Path) -> None:
    in_folder(tmp_path / "folder")
    pq.write_table(TABLE.drop_columns(["x"]), tmp_path / "folder" / "c.parquet")
    with pytest.raises(BadInput, match="they are no one table"):
        judged(tmp_path / "folder", tmp_path / "folder")


def test_a_damaged_page_is_bad_input(parquet: Path, tmp_path: Path) -> None:
    data = bytearray(parquet.read_bytes())
    data[200:400] = os.urandom(200)
    with pytest.raises(BadInput, match="is damaged"):
        judged(parquet, write(tmp_path / "bad.parquet", bytes(data)))


@pytest.mark.parametrize("place", [in_folder, in_delta])
def test_a_file_that_goes_away_while_it_is_read_is_a_fault(
    parquet: Path, tmp_path: Path, place: Callable[[Path], str]
) -> None:
    source = open_source(place(tmp_path / "other"))
    for file in (tmp_path / "other").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(Infrastructure, match="is gone while it was read"):
        list(source.batches(["id"]))


def test_a_file_that_is_written_between_two_readings_is_a_fault(parquet: Path) -> None:
    source = open_source(str(parquet))
    assert sum(batch.num_rows for batch in source.batches(["id"])) == 1000
    pq.write_table(TABLE, parquet)
    with pytest.raises(Infrastructure, match="was written while it was read"):
        source.check()


def test_many_rows_that_drift_are_paired_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.grader.tables.collect.PART_BYTES", 1 << 16)
    with duckdb.connect() as connection:
        for name, factor in (("one", "1"), ("two", "(1 + 1e-13)")):
            connection.execute(
                f"COPY (SELECT i % 4000 AS id, i % 3 AS k, sqrt(i + 1) * {factor} AS x, ln(i + 2) AS y "
                f"FROM range(60000) r(i) ORDER BY hash(i, '{name}')) TO '{tmp_path}/{name}.parquet'"
            )
    found = judged(tmp_path / "one.parquet", tmp_path / "two.parquet")
    assert found.verdict == "within_tolerance"
    assert 50_000 < found.drift[0].rows <= 60_000
    assert found.drift[0].worst_relative < 2e-13
