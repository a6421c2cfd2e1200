"""Tables and questions of one's own become a task set; whatever is wrong in them is named by file and line."""

import asyncio
import datetime
import decimal
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.tasksets.csvs import CsvImport, CsvSource, import_csv
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


def test_source_and_destination_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "in", t="a\n1\n", questions="question,sql\nq,SELECT sum(a) FROM t\n")
    monkeypatch.chdir(tmp_path)
    run(Path("in"), Path("tasksets/set"))
    assert list(TaskSet(tmp_path / "tasksets" / "set").tasks) == ["set-00000"]


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
