"""The questions file beside one's own tables: its shapes, what is set aside, and what is refused by line."""

from pathlib import Path

import pytest

from cluster.tasksets.csvs import CsvSource
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold
from tests.test_csv_import import folder, run


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


def test_a_column_without_meaning_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    source = folder(tmp_path / "in", t="a\n1\n", questions="question,answer,tolerence\nq,5,1\n")
    run(source, tmp_path / "set", said)
    assert said == ["questions.csv: the column tolerence is not used; did you mean tolerance?"]
