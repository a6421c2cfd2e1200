"""Tables and questions of one's own become a task set; whatever is wrong in them is named by file and line."""

import asyncio
import csv
import datetime
import decimal
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cluster.tasksets.columns import BLANKS
from cluster.tasksets.csvs import BadRows, CsvImport, CsvSource, import_csv, read_table
from cluster.tasksets.tables import Table as Typed
from cluster.tasksets.tables import write_database
from cluster.tasksets.validate import Finding, validate
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer, read_gold
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from tests.conftest import Table
from tests.test_cli import assay, refused

ORDERS = """\
order_id,customer,placed,amount,paid,zip,note
1,Ann,2024-01-31,10.50,true,00123,
2,"Bob, the ""builder""\",2024-02-01,NA,false,04567,""
3,,2024-02-02,3,TRUE,NA,"two
lines"
4,Ann,,-1e3,,99999,NULL
"""
QUESTIONS = """\
question,sql,answer,answer_type,difficulty,id,ordered,tolerance
How many orders are there?,SELECT count(*) FROM orders,,,,,,
Who ordered most?,"SELECT customer FROM orders GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",,,hard,,,
All the amounts?,SELECT amount FROM orders WHERE amount IS NOT NULL ORDER BY amount,,,,,,
In which year did they order?,,2024,,,,,
Which orders did Ann place?,,"[1, 4]",,easy,ann,yes,
Orders and customers?,,"[[1, ""Ann""], [4, ""Ann""]]",,,,,
What is the mean?,,4.2,,,,,0.1
Which zip?,,00123,,,,,
As a number of text?,,7,string,,,,
"""


def folder(path: Path, **files: str) -> Path:
    """A folder with the files; `orders` is orders.csv, `questions_json` questions.json, `a__b` the file b.csv in a."""
    for name, text in files.items():
        part, _, stem = name.rpartition("__")
        stem, _, suffix = stem.partition("_")
        (path / part).mkdir(parents=True, exist_ok=True)
        (path / part / f"{stem}.{suffix or 'csv'}").write_bytes(text.encode())
    return path


def run(source: CsvSource | Path, destination: Path, said: list[str] | None = None) -> CsvImport:
    asked = CsvSource(source) if isinstance(source, Path) else source
    said = [] if said is None else said
    return asyncio.run(import_csv(asked, destination, lambda done: None, said.append))


def table_of(path: Path, text: str | bytes, name: str = "t.csv", nulls: tuple[str, ...] = ()) -> Typed:
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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    path = tmp_path_factory.mktemp("csv")
    run(folder(path / "my shop", orders=ORDERS, questions=QUESTIONS), path / "shop")
    return TaskSet(path / "shop")


@pytest.fixture(scope="module")
def by_question(shop: TaskSet) -> dict[str, GoldAnswer]:
    golds = read_gold(shop.gold_path)
    return {task.question: golds[task_id] for task_id, task in shop.tasks.items()}


@pytest.fixture(scope="module")
def shop_table(shop: TaskSet) -> Iterator[Table]:
    with asyncio.Runner() as runner:

        async def pool() -> SandboxPool:
            return SandboxPool({"my_shop": shop.database_path("my_shop")}, SandboxLimits(children=1))

        made = runner.run(pool())
        yield Table(shop, GoldGrader.read(shop.gold_path), made, runner)
        made.close()


def test_types_come_from_all_values_of_a_column(shop: TaskSet) -> None:
    (orders,) = shop.catalog("my_shop").tables
    assert dict(orders.columns) == {
        "order_id": "BIGINT", "customer": "VARCHAR", "placed": "DATE", "amount": "DOUBLE", "paid": "BOOLEAN",
        "zip": "VARCHAR", "note": "VARCHAR",
    }  # fmt: skip


def test_cells_are_read_as_they_were_written(shop: TaskSet) -> None:
    (orders,) = shop.catalog("my_shop").tables
    assert orders.reservoir == [
        [1, "Ann", {"date": "2024-01-31"}, 10.5, True, "00123", None],
        [2, 'Bob, the "builder"', {"date": "2024-02-01"}, None, False, "04567", ""],
        [3, None, {"date": "2024-02-02"}, 3.0, True, "NA", "two\nlines"],
        [4, "Ann", None, -1000.0, None, "99999", None],
    ]


def test_gold_is_frozen_from_sql_or_taken_as_stated(by_question: dict[str, GoldAnswer]) -> None:
    found = {question: (gold.answer_type, gold.gold_answer) for question, gold in by_question.items()}
    assert list(found.values()) == [
        ("integer", 4),
        ("string", "Ann"),
        ("list", [-1000.0, 3.0, 10.5]),
        ("integer", 2024),
        ("list", [1, 4]),
        ("table", [[1, "Ann"], [4, "Ann"]]),
        ("float", 4.2),
        ("string", "00123"),
        ("string", "7"),
    ]
    ordered = [question for question, gold in by_question.items() if gold.ordered]
    assert ordered == ["All the amounts?", "Which orders did Ann place?"]
    assert by_question["What is the mean?"].tolerance == 0.1
    assert by_question["In which year did they order?"].gold_sql == ""
    assert by_question["How many orders are there?"].tables_involved == ("orders",)


def test_ids_and_difficulty_are_the_authors_or_assays(shop: TaskSet) -> None:
    levels = {task_id: task.difficulty for task_id, task in shop.tasks.items()}
    assert (levels["shop-00000"], levels["shop-00001"], levels["shop-00003"]) == ("easy", "hard", "medium")
    assert levels["ann"] == "easy"


def test_the_imported_set_is_valid_also_where_only_answers_are_known(shop: TaskSet) -> None:
    async def collect() -> list[Finding]:
        return [finding async for finding in validate(shop, lambda database: None)]

    assert [finding for finding in asyncio.run(collect()) if finding.is_fault] == []


def test_the_imported_set_plays(shop_table: Table) -> None:
    asked = shop_table.play("shop-00000", ["DESCRIBE orders", "QUERY SELECT count(*) FROM orders", "ANSWER 4"])
    assert asked.verdict() == "correct"
    stated = shop_table.play("shop-00003", ["QUERY SELECT year(max(placed)) FROM orders", "ANSWER 2024"])
    assert stated.verdict() == "correct"
    assert stated.reward() > 1
    assert shop_table.play("ann", ["ANSWER [4, 1]"]).verdict() == "incorrect"


def test_two_imports_have_the_same_hash(tmp_path: Path, shop: TaskSet) -> None:
    again = run(folder(tmp_path / "my shop", orders=ORDERS, questions=QUESTIONS), tmp_path / "shop")
    assert again.manifest.task_set_hash() == shop.manifest.task_set_hash()


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


BAD = 'id,note\n1,fine\n2,a,b,c\n3,"multi\nline"\n4\n5,"x" y\n6,"fine, too"\n7,"open\n'


def test_bad_rows_are_reported_line_by_line_and_nothing_is_written(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", t=BAD, questions="question,answer\nq,1\n")
    said: list[str] = []
    with pytest.raises(BadInput, match=r"4 rows cannot be read: .*--skip-bad-rows"):
        run(source, tmp_path / "out" / "set", said)
    assert said == [
        "t.csv line 3: 4 fields, expected 2",
        "t.csv line 6: 1 field, expected 2",
        "t.csv line 7: text after a closing quote",
        "t.csv line 9: a quote that is never closed",
    ]
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", t=BAD, questions="question,answer\nq,1\n")
    done = run(CsvSource(source, skip_bad_rows=True), tmp_path / "set")
    (table,) = TaskSet(tmp_path / "set").catalog("in").tables
    assert table.reservoir == [[1, "fine"], [3, "multi\nline"], [6, "fine, too"]]
    assert done.bad_rows == 4


def test_no_more_than_twenty_bad_rows_are_shown(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", a="x\n" + "1,2\n" * 15, b="x\n" + "1,2\n" * 15, questions="question,answer\nq,1\n")
    said: list[str] = []
    with pytest.raises(BadInput, match="30 rows"):
        run(source, tmp_path / "set", said)
    assert len(said) == 21
    assert said[-1] == "… and 10 more"


def test_every_file_is_a_table_and_every_folder_a_database(tmp_path: Path) -> None:
    source = folder(
        tmp_path / "in", air__flights="id\n1\n2\n", shop_2__orders="id\n1\n", notes_txt="no table",
        questions="question,query,database\na,SELECT count(*) FROM flights,air\nb,SELECT count(*) FROM orders,shop 2\n",
    )  # fmt: skip
    (source / "shop_2").rename(source / "shop 2")
    done = run(source, tmp_path / "set")
    assert {task.database for task in TaskSet(tmp_path / "set").tasks.values()} == {"air", "shop_2"}
    assert (done.manifest.tasks, sorted(done.manifest.databases)) == (2, ["air", "shop_2"])


@pytest.mark.parametrize(
    "files",
    [
        {"questions_jsonl": '{"question": "q", "answer": [1, 2]}\n\n{"question": "r", "gold_sql": "SELECT 2 FROM t"}'},
        {"questions_json": '[{"Question": "q", "Answer": "[1, 2]"}, {"question": "r", "Gold SQL": "SELECT 2 FROM t"}]'},
    ],
)  # fmt: skip
def test_questions_may_be_json(tmp_path: Path, files: dict[str, str]) -> None:
    run(folder(tmp_path / "in", t="a\n1\n", **files), tmp_path / "set")
    golds = read_gold(TaskSet(tmp_path / "set").gold_path).values()
    assert [(gold.answer_type, gold.gold_answer) for gold in golds] == [("list", [1, 2]), ("integer", 2)]


def test_a_questions_file_elsewhere_leaves_questions_csv_a_table(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", questions="id,title\n1,x\n")
    elsewhere = folder(tmp_path / "more", asked="question,sql\nq,SELECT count(*) FROM questions\n") / "asked.csv"
    assert run(CsvSource(source, elsewhere), tmp_path / "set").manifest.tasks == 1


def test_questions_without_a_gold_are_set_aside_by_line(tmp_path: Path) -> None:
    rows = [
        "fine,SELECT max(a) FROM t,,",
        "bad,SELECT nope FROM t,,",
        "empty,SELECT a FROM t WHERE a > 9999999,,",
        "large,SELECT a FROM t,,",
        "chance,SELECT random() FROM t LIMIT 1,,",
        "shape,SELECT a FROM t WHERE a < 3,,integer",
        "differs,SELECT count(*) FROM t,5,",
        "agrees,SELECT count(*) FROM t,10001,",
        "forbidden,DROP TABLE t,,",
        "silent,,.,",
    ]
    cells = "".join(f"{number}\n" for number in range(10_001))
    questions = "question,gold_sql,answer,answer_type\n" + "\n".join(rows)
    said: list[str] = []
    done = run(folder(tmp_path / "in", t=f"a\n{cells}", questions=questions), tmp_path / "set", said)
    assert done.manifest.tasks == 2
    assert done.manifest.set_aside == {
        "gold does not run": 2, "empty": 1, "too large": 1, "changes from run to run": 1, "another answer type": 1,
        "another answer": 1, "does not score": 1,
    }  # fmt: skip
    assert [line.split(":")[0] for line in said] == [f"questions.csv line {n}" for n in (3, 4, 5, 6, 7, 8, 10, 11)]
    assert 'gold does not run: Binder Error: Referenced column "nope" not found' in said[0]


def test_if_no_question_is_admitted_nothing_is_written(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", t="a\n1\n", questions="question,sql\nq,SELECT b FROM t\n")
    with pytest.raises(BadInput, match=r"no question could be admitted \(gold does not run: 1\)"):
        run(source, tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []


T = {"t": "a\n1\n"}
TWO = {"x__t": "a\n1\n", "y__t": "a\n1\n"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"questions": "question,answer\nq,1\n"}, "has no tables"),
        (T, "has no questions file"),
        (T | {"questions": "question,answer\nq,1\n", "questions_json": "[]"}, "questions.csv and questions.json"),
        (T | {"questions": "q,answer\nq,1\n"}, "questions.csv has no column question, only q, answer"),
        (T | {"questions": "question,notes\nq,1\n"}, "has no column gold_sql (or sql or query) or answer"),
        (T | {"questions": "question,sql,query\nq,1,1\n"}, "questions.csv line 2: gold_sql is given twice"),
        (T | {"questions": "question,answer\n"}, "questions.csv has no questions"),
        (T | {"questions": "question,answer\n\n,1\n"}, "questions.csv line 3: the question is empty"),
        (T | {"questions": "question,answer\nq,\n"}, "questions.csv line 2: neither gold_sql nor answer"),
        (T | {"questions": "question,sql\nq,SELECT a, b\n"}, "questions.csv line 2: 3 fields, expected 2"),
        (T | {"questions": "question,answer,answer_type\nq,1,int\n"}, "line 2: unknown answer_type int: expected one"),
        (T | {"questions": "question,answer,difficulty\nq,1,odd\n"}, "line 2: unknown difficulty odd"),
        (T | {"questions": "question,answer,answer_type\nq,x,float\n"}, "line 2: the answer x is no float"),
        (T | {"questions": "question,answer,answer_type\nq,x,list\n"}, "line 2: the answer is not JSON"),
        (T | {"questions": 'question,answer\nq,"[[1], [1, 2]]"\n'}, "line 2: the rows of the table have different"),
        (T | {"questions": "question,answer,tolerance\nq,1,-1\n"}, "line 2: tolerance must be a number from 0"),
        (T | {"questions": "question,answer,ordered\nq,1,maybe\n"}, "line 2: ordered must be true or false"),
        (T | {"questions": "question,answer,id\nq,1,x\nr,2,x\n"}, "line 3: the id x is taken by questions.csv line 2"),
        (T | {"questions_json": '[{"question": "q"'}, "questions.json: not JSON"),
        (T | {"questions_json": "{}"}, "questions.json must be a list of objects"),
        (T | {"questions_json": "[1]"}, "questions.json entry 1: not an object"),
        (T | {"questions_jsonl": '{"question": "q", "answer": 1}\n{'}, "questions.jsonl line 2: not JSON"),
        (TWO | {"questions": "question,answer\nq,1\n"}, "line 2: no database is given, and there are 2: x, y"),
        (TWO | {"questions": "question,answer,database\nq,1,z\n"}, "line 2: no database z; there is x, y"),
        (T | {"t_tsv": "a\n", "questions": "question,answer\nq,1\n"}, "t.csv and t.tsv would both be the table t"),
        ({"(t)": "a\n", "questions": "question,answer\nq,1\n"}, "'(t)' cannot be the name of a table"),
        ({"t_parquet": "a\n", "questions": "question,answer\nq,1\n"}, "t.parquet cannot be read as Parquet"),
        ({"a b__t": "a\n", "a-b__t": "a\n", "questions": "question,answer\nq,1\n"}, "would be the database a_b"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_used_is_one_line_and_leaves_nothing(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    source = folder(tmp_path / "in", **files)
    with pytest.raises(BadInput) as caught:
        run(source, tmp_path / "out" / "set")
    assert said in str(caught.value)
    assert list((tmp_path / "out").iterdir() if (tmp_path / "out").exists() else []) == []


def test_source_and_destination_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "in", t="a\n1\n", questions="question,sql\nq,SELECT sum(a) FROM t\n")
    monkeypatch.chdir(tmp_path)
    run(Path("in"), Path("tasksets/set"))
    assert list(TaskSet(tmp_path / "tasksets" / "set").tasks) == ["set-00000"]


def test_a_column_without_meaning_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    source = folder(tmp_path / "in", t="a\n1\n", questions="question,answer,tolerence\nq,5,1\n")
    run(source, tmp_path / "set", said)
    assert said == ["questions.csv: the column tolerence is not used; did you mean tolerance?"]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "price": [decimal.Decimal("1.50"), None],
            "at": pa.array([datetime.datetime(2024, 1, 1, 12, tzinfo=zone), None]),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "tags": [["x", "y"], []],
            "where": [{"lat": 1.5, "name": "z"}, None],
        }
    )
    source = folder(tmp_path / "in", questions="question,sql\nq,SELECT sum(price) FROM t\n")
    pq.write_table(table, source / "t.parquet")
    run(source, tmp_path / "set")
    (found,) = TaskSet(tmp_path / "set").catalog("in").tables
    assert dict(found.columns) == {
        "id": "INTEGER", "price": "DECIMAL(3,2)", "at": "TIMESTAMP", "kind": "VARCHAR", "tags": "VARCHAR[]",
        "where": "STRUCT(lat DOUBLE, \"name\" VARCHAR)",
    }  # fmt: skip
    assert found.reservoir[0][:5] == [1, {"decimal": "1.50"}, {"timestamp": "2024-01-01 10:00:00"}, "a", ["x", "y"]]


def test_what_a_task_set_cannot_hold_of_parquet_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", questions="question,answer\nq,1\n")
    pq.write_table(pa.table({"m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))}), source / "t.parquet")
    with pytest.raises(BadInput, match=r"t.parquet: column m is a MAP\(VARCHAR, BIGINT\)"):
        run(source, tmp_path / "set")


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


def test_the_command_counts_and_names_what_is_left_out(tmp_path: Path) -> None:
    questions = "question,sql\nHow many?,SELECT count(*) FROM t\nq,SELECT b FROM t\n"
    source = folder(tmp_path / "in", t="a\n1\n2,3\n", questions=questions)
    done = assay("tasks", "import", "csv", source, tmp_path / "set", "--skip-bad-rows", "--json")
    assert done.returncode == 0, done.stderr
    counts = {"questions": 2, "admitted": 1, "set_aside": {"gold does not run": 1}, "rows_left_out": 1}
    assert json.loads(done.stdout) == counts
    assert done.stderr.splitlines()[0] == "t.csv line 3: 2 fields, expected 1"
    assert done.stderr.splitlines()[1].startswith("questions.csv line 3: gold does not run: Binder Error")


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", t="a,a\n1,2\n", questions="question,answer\nq,1\n")
    refused(assay("tasks", "import", "csv", source, tmp_path / "set"), "t.csv line 1: columns 1 and 2 are both named a")
