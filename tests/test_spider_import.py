"""Spider's layout in, a task set out: what is admitted is right, the rest is set aside with a reason."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cluster.tasksets.spider import import_spider
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSet, TaskSetManifest
from services.grader.answers import is_correct, submission
from services.grader.gold import GoldAnswer, read_gold

QUESTIONS = [
    ("How many singers are there?", "SELECT count(*) FROM singer"),
    ("Names by age", "SELECT name FROM singer WHERE age IS NOT NULL ORDER BY age"),
    ("Average age", "SELECT avg(age) FROM singer"),
    ("Country of Ann?", 'SELECT country FROM singer WHERE name = "Ann"'),
    (
        "Concerts per singer",
        "SELECT T1.name, count(*) FROM singer AS T1 JOIN concert AS T2 ON T1.id = T2.singer_id GROUP BY T1.id",
    ),
    ("Nobody", "SELECT name FROM singer WHERE age > 200"),
    ("Faulty", "SELECT nothing FROM singer"),
    ("Half", "SELECT 7 / 2"),
    ("Text as number", "SELECT name FROM singer WHERE note > 5"),
    ("Oldest of a country", "SELECT name FROM singer WHERE country = 'France' ORDER BY country LIMIT 1"),
    ("Singers by country", "SELECT country, name FROM singer ORDER BY country"),
    ("Anyone", "SELECT name FROM singer LIMIT 2"),
    ("Whose note", "SELECT note FROM singer GROUP BY country"),
    ("Notes in order", "SELECT note FROM singer ORDER BY note"),
    ("Least note", "SELECT min(note), max(note), sum(note) FROM singer"),
    ("No price", "SELECT name FROM singer WHERE id NOT IN (SELECT singer_id FROM concert WHERE price > '10')"),
    ("Like", "SELECT name FROM singer WHERE name LIKE 'a%'"),
    ("Not like", "SELECT name FROM singer WHERE name NOT LIKE 'a%'"),
    ("Eldest", "SELECT name, max(age) FROM singer"),
    ("All but", "SELECT country FROM singer EXCEPT SELECT country FROM singer WHERE age > 30"),
]


def spider(folder: Path, questions: list[tuple[str, str]] = QUESTIONS) -> Path:
    """A folder in Spider's layout with one database that has SQLite's oddities."""
    (folder / "database" / "music").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "database" / "music" / "music.sqlite")) as connection:
        connection.executescript(
            """
            CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, country TEXT, note);
            INSERT INTO singer VALUES (1, 'Ann', 30, 'France', 'y'), (2, 'Bob', 41, 'Chad', 'x'),
                                      (3, 'Cid', NULL, 'France', 9), (4, 'Dee', 22, 'Peru', 10.5);
            CREATE TABLE concert (id INTEGER, singer_id INTEGER, "when" TEXT, price REAL, poster BLOB);
            INSERT INTO concert VALUES (1, 1, '2020-01-01', 10, x'00ff'), (2, 1, '', 12.5, NULL), (3, 2, NULL, 3, NULL);
            CREATE TABLE "empty table" (a, b);
            """
        )
        connection.commit()
    entries = [{"db_id": "music", "question": question, "query": query} for question, query in questions]
    (folder / "train_spider.json").write_text(json.dumps(entries))
    (folder / "tables.json").write_text("[]")
    return folder


def run(source: Path, destination: Path) -> TaskSetManifest:
    return asyncio.run(import_spider(source, destination, "mini", lambda done: None))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    folder = tmp_path_factory.mktemp("spider")
    run(spider(folder / "source"), folder / "set")
    return TaskSet(folder / "set")


@pytest.fixture(scope="module")
def by_question(imported: TaskSet) -> dict[str, GoldAnswer]:
    golds = read_gold(imported.gold_path)
    return {task.question: golds[task_id] for task_id, task in imported.tasks.items()}


def test_what_is_not_admitted_is_set_aside_with_a_reason(imported: TaskSet) -> None:
    reasons = {"empty": 1, "faulty gold": 1, "tie at a LIMIT": 2, "depends on row order": 1}
    assert imported.manifest.set_aside == reasons
    assert imported.manifest.tasks == len(QUESTIONS) - sum(reasons.values())


def test_the_gold_is_what_sqlite_says(by_question: dict[str, GoldAnswer]) -> None:
    types = {question: (gold.answer_type, gold.gold_answer) for question, gold in by_question.items()}
    assert types["How many singers are there?"] == ("integer", 4)
    assert types["Names by age"] == ("list", ["Dee", "Ann", "Bob"])
    assert types["Average age"] == ("float", 31.0)
    assert types["Country of Ann?"] == ("string", "France")
    assert types["Half"] == ("integer", 3)
    assert types["Text as number"] == ("list", ["Ann", "Bob", "Cid", "Dee"])
    assert types["Notes in order"] == ("list", [9, 10.5, "x", "y"])
    assert types["Like"] == ("string", "Ann")
    assert types["Eldest"] == ("table", [["Bob", 41]])
    assert types["Concerts per singer"] == ("table", [["Ann", 2], ["Bob", 1]])


def test_the_translation_is_kept_beside_the_source(by_question: dict[str, GoldAnswer]) -> None:
    gold = by_question["Country of Ann?"]
    assert gold.source_sql == 'SELECT country FROM singer WHERE name = "Ann"'
    assert "'Ann'" in gold.gold_sql
    assert gold.tables_involved == ("singer",)


def test_each_change_to_a_gold_is_listed(by_question: dict[str, GoldAnswer]) -> None:
    changes = {question: gold.changes for question, gold in by_question.items()}
    assert changes["How many singers are there?"] == ()
    assert changes["Country of Ann?"] == ("written as DuckDB", "double-quoted text")
    assert "whole division" in changes["Half"]
    assert "text against numbers" in changes["Text as number"]
    assert "order of mixed values" in changes["Notes in order"]
    assert "numbers from text" in changes["Least note"]
    assert "LIKE in either case" in changes["Like"]
    assert "value of some row" in changes["Eldest"]


def test_rows_that_tie_in_the_order_may_change_places(by_question: dict[str, GoldAnswer]) -> None:
    gold = by_question["Singers by country"]
    assert gold.ordered
    assert sorted(gold.tie_groups) == [1, 1, 2]
    rows = gold.rows()
    tied = next(i for i in range(3) if rows[i][0] == rows[i + 1][0])
    swapped = [*rows[:tied], rows[tied + 1], rows[tied], *rows[tied + 2 :]]
    assert is_correct(gold, json.dumps(swapped))
    assert not is_correct(gold, json.dumps(rows[::-1]))


def test_order_counts_where_the_gold_orders(by_question: dict[str, GoldAnswer]) -> None:
    gold = by_question["Names by age"]
    assert gold.ordered
    assert is_correct(gold, '["Dee", "Ann", "Bob"]')
    assert not is_correct(gold, '["Ann", "Dee", "Bob"]')


def test_each_gold_submitted_scores(by_question: dict[str, GoldAnswer]) -> None:
    assert all(is_correct(gold, submission(gold.gold_answer)) for gold in by_question.values())


def test_difficulty_follows_the_shape_of_the_query(imported: TaskSet) -> None:
    levels = {task.question: task.difficulty for task in imported.tasks.values()}
    assert levels["How many singers are there?"] == "easy"
    assert levels["Concerts per singer"] == "medium"
    assert levels["All but"] == "hard"


def test_types_come_from_the_values(imported: TaskSet) -> None:
    tables = {table.name: dict(table.columns) for table in imported.catalog("music").tables}
    assert tables["singer"] == {
        "id": "BIGINT", "name": "VARCHAR", "age": "BIGINT", "country": "VARCHAR", "note": "VARCHAR",
    }  # fmt: skip
    assert tables["concert"]["price"] == "DOUBLE"
    assert tables["concert"]["poster"] == "BLOB"
    assert tables["empty table"] == {"a": "VARCHAR", "b": "VARCHAR"}


def test_two_imports_have_the_same_hash(tmp_path: Path, imported: TaskSet) -> None:
    assert run(spider(tmp_path / "source"), tmp_path / "set").task_set_hash() == imported.manifest.task_set_hash()


def damage_database(source: Path) -> None:
    (source / "database" / "music" / "music.sqlite").write_bytes(b"this is no database at all, not even nearly")


def remove_database(source: Path) -> None:
    (source / "database" / "music" / "music.sqlite").unlink()


def remove_questions(source: Path) -> None:
    (source / "train_spider.json").unlink()


def break_questions(source: Path) -> None:
    (source / "train_spider.json").write_text('[{"db_id": "music", "question": "no query"}]')


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damage_database, "music.sqlite is not a readable SQLite database"),
        (remove_database, "music.sqlite is missing"),
        (remove_questions, "has no question file"),
        (break_questions, "entry 0"),
    ],
)
def test_a_damaged_source_is_bad_input_and_leaves_nothing(tmp_path: Path, harm: object, said: str) -> None:
    source = spider(tmp_path / "source")
    harm(source)  # type: ignore[operator]
    with pytest.raises(BadInput) as caught:
        run(source, tmp_path / "out" / "set")
    assert said in str(caught.value)
    assert list((tmp_path / "out").iterdir() if (tmp_path / "out").exists() else []) == []


def test_a_destination_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(BadInput, match="is there already"):
        run(spider(tmp_path / "source"), tmp_path / "set")


def test_a_relative_destination_is_one_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(spider(Path("source")), Path("sets") / "mini")
    assert TaskSet(tmp_path / "sets" / "mini").manifest.tasks > 0
