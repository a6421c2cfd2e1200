"""A task is pinned to versions and bytes; the pins give the same job again, or are refused."""

import stat
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from cluster.etl.importing import open_pins
from cluster.etl.pinning import FilePin, Pins, read_pins, rebuild, tables_of, write_pins
from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob, PinnedTable, ProductionRun, TableColumn
from services.grader.etl.pinned import relation
from tests.etl_world import DAILY, START, append_entries, daily, make_production, minutes, set_times, write_job

TEXT = st.text(max_size=12)
COLUMN = st.builds(TableColumn, name=TEXT, type=TEXT)
TABLE = st.builds(
    PinnedTable,
    name=TEXT,
    kind=st.sampled_from(["delta", "parquet"]),
    files=st.just(()),
    columns=st.lists(COLUMN, max_size=2).map(tuple),
    version=st.none() | st.integers(0, 9),
    rows=st.integers(0, 10**12),
)
RUN = st.builds(ProductionRun, started_at=TEXT, duration_s=st.floats(allow_nan=False), rows=st.none() | st.integers(0))
JOB = st.builds(
    EtlJob,
    job_id=TEXT,
    task_key=TEXT,
    question=TEXT,
    statements=st.lists(TEXT, max_size=2).map(tuple),
    output=TEXT,
    mode=st.sampled_from(["create", "insert", "overwrite", "merge"]),
    output_columns=st.lists(COLUMN, max_size=2).map(tuple),
    sources=st.lists(TABLE, max_size=2).map(tuple),
    before=st.none() | TABLE,
    after=TABLE,
    touched=st.lists(TEXT, max_size=2).map(tuple),
    history=st.lists(RUN, max_size=2).map(tuple),
)


def rows(table: PinnedTable | None) -> list[tuple[Any, ...]]:
    assert table is not None
    return sorted(duckdb.sql(relation(table)).fetchall(), key=repr)


@given(JOB)
def test_what_is_written_is_what_is_rebuilt(tmp_path_factory: pytest.TempPathFactory, job: EtlJob) -> None:
    path = tmp_path_factory.getbasetemp() / "pins.json"
    write_pins(Pins(job=job), path)
    assert rebuild(path) == job


def test_sources_are_as_of_the_start_and_the_output_as_before_and_after_the_run(tmp_path: Path) -> None:
    pins = open_pins(write_job(make_production(tmp_path)))
    job = pins.job
    assert (job.mode, job.statements, job.output) == ("insert", (DAILY,), "sales.daily")
    assert [(t.name, t.version) for t in tables_of(job)] == [
        ("sales.orders", 0),
        ("sales.daily", 0),
        ("sales.daily", 1),
    ]
    assert [row[0] for row in rows(job.sources[0])] == [1, 2, 3, 4]
    assert [row[:2] for row in rows(job.before)] == [("2026-02-28", "a")]
    assert [row[:2] for row in rows(job.after)] == [("2026-02-28", "a"), ("2026-03-01", "a"), ("2026-03-01", "b")]
    assert job.touched == ("\"day\" IS NOT DISTINCT FROM CAST('2026-03-01' AS VARCHAR)",)
    assert {r.committed_at for r in pins.resolutions} == {minutes(at).isoformat() for at in (-60, -1440, 4)}


def test_the_same_task_gives_the_same_pins_and_they_are_their_owners(tmp_path: Path) -> None:
    job = write_job(make_production(tmp_path))
    write_pins(open_pins(job), tmp_path / "out" / "pins.json")
    assert rebuild(tmp_path / "out" / "pins.json") == open_pins(job).job
    assert open_pins(tmp_path / "out" / "pins.json") == read_pins(tmp_path / "out" / "pins.json")
    assert stat.S_IMODE((tmp_path / "out" / "pins.json").stat().st_mode) == 0o600


def test_later_commits_and_files_change_nothing(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    write_pins(open_pins(write_job(root)), root / "pins.json")
    write_deltalake(root / "daily", daily("2026-03-01", {"a": 1}), mode="overwrite")
    assert [row[:2] for row in rows(rebuild(root / "pins.json").after)][-1] == ("2026-03-01", "b")


def test_pins_are_refused_when_a_file_is_changed_or_gone(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    pins = open_pins(write_job(root))
    write_pins(pins, root / "pins.json")
    file = Path(pins.job.sources[0].files[0])
    held = file.read_bytes()
    file.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    with pytest.raises(BadInput, match="has been changed since it was pinned"):
        rebuild(root / "pins.json")
    file.unlink()
    with pytest.raises(BadInput, match="was pinned and is gone"):
        rebuild(root / "pins.json")


def test_a_file_that_was_never_pinned_is_not_read(tmp_path: Path) -> None:
    pins = open_pins(write_job(make_production(tmp_path)))
    write_pins(pins.model_copy(update={"files": pins.files[1:]}), tmp_path / "pins.json")
    with pytest.raises(BadInput, match="do not say what"):
        rebuild(tmp_path / "pins.json")
    (tmp_path / "pins.json").write_text('{"format": "assay-pins-2"}')
    with pytest.raises(BadInput, match="format"):
        rebuild(tmp_path / "pins.json")
    assert FilePin(path="a", bytes=1, sha256="b") == FilePin(path="a", bytes=1, sha256="b")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"started_at": minutes(-61).isoformat()}, "sales.orders: at .* there was no version yet"),
        ({"started_at": "2026-03-02T03:00:00"}, "started_at: .* has no time zone"),
        ({"started_at": None}, "sales.orders: which version did production read"),
        ({"history": []}, "no run of the history began at started_at"),
        ({"history": [{"started_at": START.isoformat(), "duration_s": 60}]}, "no version was committed between"),
        ({"output": {"name": "sales.daily", "path": "daily", "version": 0}}, "needs a version before 0"),
        ({"output": {"name": "sales.daily", "path": "daily", "version": 9}}, "cannot be read at version 9"),
        ({"output": {"name": "sales.daily", "path": "daily", "mode": "merge"}}, "output.mode: it says merge"),
        ({"output": {"name": "sales.weekly", "path": "daily"}}, "no statement writes the output sales.weekly"),
        ({"sources": {"sales.order": "orders"}}, "no source has that name; did you mean sales.order"),
        ({"sources": {"sales.orders": {"path": "orders", "version": 0, "timestamp": "2026-03-02T00:00Z"}}}, "not both"),
        ({"sources": {"sales.orders": {"path": "nowhere", "version": 0}}}, "there is nothing at"),
        ({"sources": {"sales.orders": {"path": "daily.sql", "version": 0}}}, "has no versions"),
        ({"sources": {"sales.orders": {"path": "daily", "version": 1}}}, "holds files that the run itself wrote"),
    ],
)
def test_what_cannot_be_pinned_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        open_pins(write_job(make_production(tmp_path), **changes))


def test_a_version_of_another_job_in_the_runs_time_is_refused(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    set_times(root / "daily", [minutes(-1440), minutes(4)], job={"jobId": "99"})
    with pytest.raises(BadInput, match="version 1 of the run's time is of job 99, not 4711"):
        open_pins(write_job(root))


def with_feature(orders: Path, feature: str, **add: Any) -> None:
    """Version 2 of orders: one file again, under a reader feature."""
    action = pa.table(DeltaTable(str(orders), version=0).get_add_actions()).to_pylist()[0]
    file = {"path": action["path"], "partitionValues": action["partition"], "dataChange": True}
    size = {"size": action["size_bytes"], "modificationTime": 1, "stats": '{"numRecords": 1}'}
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [feature], "writerFeatures": [feature]}
    removed = {"remove": {**file, "deletionTimestamp": 1, "extendedFileMetadata": True, "size": action["size_bytes"]}}
    info = {"commitInfo": {"timestamp": round(minutes(-30).timestamp() * 1000)}}
    append_entries(orders, 2, [info, {"protocol": protocol}, removed, {"add": {**file, **size, **add}}])


def test_deletion_vectors_are_refused_and_their_mere_possibility_is_not(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    source = {"sales.orders": {"path": "orders", "version": 2}}
    with_feature(root / "orders", "deletionVectors")
    open_pins(write_job(root, sources=source, contract={}))
    vector = {
        "storageType": "u",
        "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
        "offset": 4,
        "sizeInBytes": 40,
        "cardinality": 1,
    }
    with_feature(root / "orders", "deletionVectors", deletionVector=vector)
    with pytest.raises(BadInput, match="deletion vectors, which are not read: run REORG TABLE"):
        open_pins(write_job(root, sources=source))


def test_mapped_columns_and_unknown_features_are_refused(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    source = {"sales.orders": {"path": "orders", "version": 2}}
    with_feature(root / "orders", "typeWidening")
    with pytest.raises(BadInput, match="typeWidening"):
        open_pins(write_job(root, sources=source))
    log = (root / "orders" / "_delta_log" / f"{0:020d}.json").read_text()
    mapped = log.replace('"configuration": {}', '"configuration": {"delta.columnMapping.mode": "name"}')
    assert mapped != log
    (root / "orders" / "_delta_log" / f"{0:020d}.json").write_text(mapped)
    with pytest.raises(BadInput, match="columns are mapped"):
        open_pins(write_job(root))


def test_a_vacuumed_version_is_said_to_be_gone(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    next((root / "orders").rglob("*.parquet")).unlink()
    with pytest.raises(BadInput, match="VACUUM removes old files"):
        open_pins(write_job(root))


def test_partition_values_come_back_as_they_were(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    odd = pa.table({"id": [1, 2, 3], "day": ["01", "a b/c%=", None], "k": pa.array([7, None, 8], pa.int32())})
    write_deltalake(root / "odd", odd, partition_by=["day", "k"])
    (root / "daily.sql").write_text("INSERT INTO sales.daily SELECT day, day, id FROM odd")
    job = open_pins(write_job(root, sources={"odd": {"path": "odd", "version": 0}}, contract={})).job
    assert rows(job.sources[0]) == [(1, "01", 7), (2, "a b/c%=", None), (3, None, 8)]


def test_an_empty_text_as_a_partition_is_refused_for_delta_holds_it_for_null(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    write_deltalake(root / "odd", pa.table({"id": [1], "day": [""]}), partition_by=["day"])
    (root / "daily.sql").write_text("INSERT INTO sales.daily SELECT day, day, id FROM odd")
    with pytest.raises(BadInput, match="the log says day=None"):
        open_pins(write_job(root, sources={"odd": {"path": "odd", "version": 0}}, contract={}))


def test_columns_that_were_added_later_are_null_in_older_files(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    more = pa.table({"id": [9], "day": ["2026-03-01"], "note": ["x"]})
    write_deltalake(root / "orders", more, mode="append", schema_mode="merge")
    source = {"sales.orders": {"path": "orders", "version": 2}}
    table = open_pins(write_job(root, sources=source, contract={})).job.sources[0]
    assert [column.name for column in table.columns] == ["id", "shop", "amount", "day", "note"]
    assert [row[-1] for row in rows(table)] == [None] * 5 + ["x"]


def test_parquet_before_and_after_bound_the_increment(tmp_path: Path) -> None:
    for folder, days in (("before", ("1", "2")), ("after", ("1", "2", "3"))):
        for day in days:
            (tmp_path / folder / f"day={day}").mkdir(parents=True)
            values = [int(day) * 10 + (folder == "after" and day == "2")]
            pq.write_table(pa.table({"n": values}), tmp_path / folder / f"day={day}" / "part.parquet")
    pq.write_table(pa.table({"n": [21, 30], "day": [2, 3]}), tmp_path / "new.parquet")
    (tmp_path / "daily.sql").write_text("DELETE FROM out WHERE day >= 2;\nINSERT INTO out BY NAME FROM new")
    path = write_job(
        tmp_path,
        sources={"new": "new.parquet"},
        output={"name": "out", "path": "after", "before": "before"},
        started_at=None,
        contract={},
    )
    job = open_pins(path).job
    assert (job.mode, len(job.statements)) == ("overwrite", 2)
    assert job.touched == tuple(f"\"day\" IS NOT DISTINCT FROM CAST('{day}' AS BIGINT)" for day in (2, 3))
    assert rows(job.after) == [(10, 1), (21, 2), (30, 3)]
