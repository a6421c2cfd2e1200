"""How the cells of one's own tables are read: types, separators, line ends, NULL, and files that are no table."""

import csv
import datetime
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.tasksets.columns import BLANKS
from cluster.tasksets.csvs import BadRows, CsvSource, read_table
from cluster.tasksets.tables import Table, write_database
from services.contracts.errors import BadInput


def table_of(path: Path, text: str | bytes, name: str = "t.csv", nulls: tuple[str, ...] = ()) -> Table:
    """The table that a file of that text becomes."""
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    bad = BadRows(lambda line: None)
    table = read_table(CsvSource(path, nulls=nulls), path / name, bad)
    assert bad.count == 0
    return table


def column(path: Path, *cells: str, nulls: tuple[str, ...] = ()) -> tuple[str, list[object]]:
    """Type and values of a column of unquoted cells, beside one that is never empty."""
    table = table_of(path, "a,b\n" + "".join(f"{cell},x\n" for cell in cells), nulls=nulls)
    return table.columns[0][1], [row[0] for row in table.rows]


@pytest.mark.parametrize(
    ("cells", "kind", "first"),
    [
        (("1", "-2", " 3 "), "BIGINT", 1),
        (("1", "2.5", ".5", "1e3"), "DOUBLE", 1.0),
        (("00123", "5"), "VARCHAR", "00123"),
        (("+49123", "5"), "VARCHAR", "+49123"),
        (("12345678901234567890", "1"), "VARCHAR", "12345678901234567890"),
        (("9007199254740993", "0.5"), "VARCHAR", "9007199254740993"),
        (("True", "FALSE"), "BOOLEAN", True),
        (("yes", "no"), "VARCHAR", "yes"),
        (("2024-02-29", "1999-12-31"), "DATE", datetime.date(2024, 2, 29)),
        (("2023-02-29", "1999-12-31"), "VARCHAR", "2023-02-29"),
        (("03/04/2024", "31/12/2024"), "DATE", datetime.date(2024, 4, 3)),
        (("03/04/2024", "12/31/2024"), "DATE", datetime.date(2024, 3, 4)),
        (("03/04/2024", "05/06/2024"), "VARCHAR", "03/04/2024"),
        (("13/01/2024", "01/13/2024"), "VARCHAR", "13/01/2024"),
        (("3.4.2024", "31.12.2024"), "DATE", datetime.date(2024, 4, 3)),
        (("2024/04/03", "2024-04-03"), "VARCHAR", "2024/04/03"),
        (("2024-01-31 12:30", "2024-01-31T12:30:05.25"), "TIMESTAMP", datetime.datetime(2024, 1, 31, 12, 30)),
        (("2024-01-31T12:30:05.25Z",), "TIMESTAMP", datetime.datetime(2024, 1, 31, 12, 30, 5, 250_000)),
        (("2024-01-31T12:30:05+01:00",), "VARCHAR", "2024-01-31T12:30:05+01:00"),
        (("", "NULL", "null", "1"), "BIGINT", None),
        (("", ""), "VARCHAR", None),
        (("NA", "N/A", "1"), "BIGINT", None),
        (("NA", "DE"), "VARCHAR", "NA"),
        (('""', "1"), "BIGINT", None),
        (('""', "a"), "VARCHAR", ""),
        (('"NULL"', "a"), "VARCHAR", "NULL"),
    ],
)
def test_a_column_gets_the_narrowest_type_that_loses_nothing(
    tmp_path: Path, cells: tuple[str, ...], kind: str, first: object
) -> None:
    found, values = column(tmp_path, *cells)
    assert (found, values[0]) == (kind, first)
    assert type(values[0]) is type(first)


def test_one_value_far_down_decides_over_the_whole_column(tmp_path: Path) -> None:
    assert column(tmp_path, *["1"] * 50_000, "x")[0] == "VARCHAR"


def test_further_spellings_of_null_can_be_named(tmp_path: Path) -> None:
    assert column(tmp_path, "-", "5", nulls=("-",)) == ("BIGINT", [None, 5])
    assert column(tmp_path, "-", "a", nulls=("-",)) == ("VARCHAR", [None, "a"])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_are_found(tmp_path: Path, separator: str, end: str) -> None:
    lines = [["name", "a b"], ["x", f'"1{separator}{end}2"'], ["y", "z"]]
    table = table_of(tmp_path, end.join(separator.join(line) for line in lines))
    assert [name for name, _ in table.columns] == ["name", "a b"]
    assert list(table.rows) == [("x", f"1{separator}{end}2"), ("y", "z")]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert table_of(tmp_path, b"\xef\xbb\xbfid,n\n1,2\n").columns == (("id", "BIGINT"), ("n", "BIGINT"))


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    table = table_of(tmp_path, "id,2020,2021\n")
    assert table.columns == (("id", "VARCHAR"), ("2020", "VARCHAR"), ("2021", "VARCHAR"))
    assert list(table.rows) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "t.csv is empty"),
        (b"\n\n", "t.csv is empty"),
        (b"a,b,A\n1,2,3\n", "t.csv line 1: columns 1 and 3 are both named A"),
        (b",b\n1,2\n", "t.csv line 1: column 1 has no name"),
        (b"1,Ann\n2,Bob\n", "t.csv line 1: 1 is data, not a column name"),
        (b"rowid,b\n2,Bob\n", "t.csv line 1: a column cannot be named 'rowid'"),
        (b'"a\n', "t.csv line 1: a quote that is never closed"),
        (b"a,b\n1,2\n3,\xe9\n", "t.csv line 3: not UTF-8 (byte 0xe9)"),
        ("a,b\n".encode("utf-16"), "t.csv line 1: UTF-16"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_line(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        table_of(tmp_path, data)
    assert said in str(caught.value)


CELLS = st.one_of(
    st.text(max_size=8),
    st.text("0123456789.-e/ ", max_size=6),
    st.sampled_from(["", "NULL", "NA", "true", "2024-01-31", "31/12/2024", "2024-01-31 10:00", '"', "a\r\nb", "\x00"]),
)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))


@given(rows=TABLES, separator=st.sampled_from([",", ";", "\t", "|"]), end=st.sampled_from(["\n", "\r\n"]))
@example(rows=[["\r"], ["a\rb"]], separator=",", end="\n")
@settings(max_examples=80, deadline=None)
def test_any_table_of_text_survives_cell_for_cell(rows: list[list[str]], separator: str, end: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        with (path / "t.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
            writer.writerows([[f"c{index}" for index in range(len(rows[0]))], *rows])
        table = read_table(CsvSource(path), path / "t.csv", BadRows(pytest.fail))
        write_database(path / "t.duckdb", [table])
        with duckdb.connect(str(path / "t.duckdb"), read_only=True) as connection:
            stored = connection.execute("SELECT * FROM t ORDER BY rowid").fetchall()
    assert len(stored) == len(rows)
    for cells, row in zip(rows, stored, strict=True):
        for cell, value, (_, kind) in zip(cells, row, table.columns, strict=True):
            assert is_same(cell, value, kind), (cell, value, kind)


def is_same(cell: str, value: object, kind: str) -> bool:
    """Whether a stored value is what a quoted cell says."""
    match kind, value:
        case "VARCHAR", _:
            return value == cell
        case _, None:
            return cell.strip() in BLANKS
        case "DOUBLE", float():
            return float(cell) == value
        case "DATE", datetime.date():
            return str(value) in (cell.strip(), "-".join(reversed(cell.strip().split("/"))))
        case "TIMESTAMP", datetime.datetime():
            return str(value).startswith(cell.strip())
        case _:
            return str(value).lower() == cell.strip().lower()
