"""A questions file, CSV or JSON: a question a row, with its gold SQL or its answer. An error names its line."""

import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from cluster.tasksets.delimited import read_sheet, read_utf8
from cluster.tasksets.stated import Stated, stated_answer
from services.contracts.errors import BadInput
from services.contracts.statements import Cell
from services.contracts.tasks import Difficulty
from services.grader.gold import ANSWER_TYPES, AnswerType

NAMES = ("questions.csv", "questions.jsonl", "questions.json")
SYNONYMS = {"sql": "gold_sql", "query": "gold_sql"}
COLUMNS = (
    "question", "gold_sql", "answer", "database", "answer_type", "difficulty", "id", "ordered", "tolerance",
)  # fmt: skip
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
DEFAULT_TOLERANCE = 0.01
Row = Mapping[str, Cell]
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True)
class Question:
    """One question as its author wrote it; `where` is its file and line, and what was left open is None."""

    where: str
    text: str
    database: str
    gold_sql: str | None
    answer: Stated | None
    answer_type: AnswerType | None
    difficulty: Difficulty | None
    task_id: str
    ordered: bool | None
    tolerance: float


def find_questions(source: Path, given: Path | None) -> Path:
    """The questions file: the given one, or the only one of the known names in the folder. Raises BadInput."""
    found = [given] if given else [source / name for name in NAMES if (source / name).is_file()]
    if not found:
        raise BadInput(f"{source} has no questions file ({', '.join(NAMES)}): name it with --questions")
    if len(found) > 1:
        raise BadInput(f"{source} has {' and '.join(path.name for path in found)}: name one with --questions")
    if not found[0].is_file():
        raise BadInput(f"no questions file {found[0]}")
    return found[0]


def read_questions(
    path: Path, databases: Mapping[str, str], name: str, complain: Callable[[str], None]
) -> list[Question]:
    """All questions, in file order. `databases`: the name of each database by the names it may be called by. A task
    without id is called `name` and its number. Raises BadInput; columns that mean nothing are complained of.
    """
    rows = list(_rows(path))
    if not rows:
        raise BadInput(f"{path.name} has no questions")
    _check_columns(path.name, rows, complain)
    questions = [_question(where, row, databases, f"{name}-{index:05d}") for index, (where, row) in enumerate(rows)]
    seen: dict[str, str] = {}
    for question in questions:
        if question.task_id in seen:
            raise BadInput(f"{question.where}: the id {question.task_id} is taken by {seen[question.task_id]}")
        seen[question.task_id] = question.where
    return questions


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    match path.suffix.lower():
        case ".json":
            yield from _json_rows(path)
        case ".jsonl" | ".ndjson":
            for number, line in enumerate(read_utf8(path, path.name).split("\n"), 1):
                if line.strip():
                    where = f"{path.name} line {number}"
                    yield where, _as_row(where, _fields(where, _parsed(where, line)))
        case _:
            yield from _csv_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
    sheet = read_sheet(path, path.name, frozenset({""}))
    for line, why in sheet.bad:
        raise BadInput(f"{path.name} line {line}: {why}: text that holds a separator or a quote must be in quotes")
    for line, fields in zip(sheet.lines, sheet.rows, strict=True):
        where = f"{path.name} line {line}"
        yield where, _as_row(where, zip(sheet.header, fields, strict=True))


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    entries = _parsed(path.name, read_utf8(path, path.name))
    if not isinstance(entries, list):
        raise BadInput(f"{path.name} must be a list of objects; for one object a line, name it questions.jsonl")
    for number, entry in enumerate(entries, 1):
        where = f"{path.name} entry {number}"
        yield where, _as_row(where, _fields(where, entry))


def _parsed(where: str, text: str) -> Cell:
    try:
        value: Cell = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) and error.lineno > 1 else ""
        raise BadInput(f"{where}{place}: not JSON: {error}") from error
    return value


def _as_row(where: str, fields: Iterable[tuple[str, Cell]]) -> Row:
    """The fields by Assay's names."""
    row: dict[str, Cell] = {}
    for key, value in fields:
        name = SYNONYMS.get(_plain(key), _plain(key))
        if name in row:
            raise BadInput(f"{where}: {name} is given twice; {' and '.join(SYNONYMS)} are other words for gold_sql")
        row[name] = value
    return row


def _fields(where: str, entry: Cell) -> Iterable[tuple[str, Cell]]:
    if not isinstance(entry, dict):
        raise BadInput(f"{where}: not an object with fields")
    return entry.items()


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _check_columns(shown: str, rows: list[tuple[str, Row]], complain: Callable[[str], None]) -> None:
    found = {name: None for _, row in rows for name in row}
    if "question" not in found:
        raise BadInput(f"{shown} has no column question, only {', '.join(found)}")
    if "gold_sql" not in found and "answer" not in found:
        raise BadInput(f"{shown} has no column gold_sql (or {' or '.join(SYNONYMS)}) or answer")
    for name in found:
        if name not in COLUMNS:
            complain(f"{shown}: the column {name} is not used{_hint(name, COLUMNS)}")


def _question(where: str, row: Row, databases: Mapping[str, str], task_id: str) -> Question:
    text, sql = _text(where, row, "question"), _text(where, row, "gold_sql")
    kind = _one_of(where, row, "answer_type", ANSWER_TYPES)
    if text is None:
        raise BadInput(f"{where}: the question is empty")
    answer = _answer(where, row, kind)
    if sql is None and answer is None:
        raise BadInput(f"{where}: neither gold_sql nor answer is given")
    return Question(
        where=where,
        text=text,
        database=_database(where, row, databases),
        gold_sql=sql,
        answer=answer,
        answer_type=kind,
        difficulty=_one_of(where, row, "difficulty", DIFFICULTIES),
        task_id=_text(where, row, "id") or task_id,
        ordered=_ordered(where, row),
        tolerance=_tolerance(where, row),
    )


def _text(where: str, row: Row, name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise BadInput(f"{where}: {name} must be text")
    return value.strip()


def _one_of(where: str, row: Row, name: str, known: tuple[Word, ...]) -> Word | None:
    text = _text(where, row, name)
    found = next((word for word in known if text is not None and word == text.lower()), None)
    if text is not None and found is None:
        raise BadInput(f"{where}: unknown {name} {text}: expected one of {', '.join(known)}")
    return found


def _answer(where: str, row: Row, kind: AnswerType | None) -> Stated | None:
    try:
        return stated_answer(row.get("answer"), kind)
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from error


def _database(where: str, row: Row, databases: Mapping[str, str]) -> str:
    given, known = _text(where, row, "database"), sorted(set(databases.values()))
    if given is None:
        if len(known) > 1:
            raise BadInput(f"{where}: no database is given, and there are {len(known)}: {', '.join(known)}")
        return known[0]
    if given not in databases:
        raise BadInput(f"{where}: no database {given}{_hint(given, known) or '; there is ' + ', '.join(known)}")
    return databases[given]


def _ordered(where: str, row: Row) -> bool | None:
    value = row.get("ordered")
    if isinstance(value, bool):
        return value
    text = _text(where, row, "ordered")
    if text is not None and text.lower() not in _FLAGS:
        raise BadInput(f"{where}: ordered must be true or false, not {text}")
    return None if text is None else _FLAGS[text.lower()]


def _tolerance(where: str, row: Row) -> float:
    text = _text(where, row, "tolerance")
    try:
        tolerance = DEFAULT_TOLERANCE if text is None else float(text)
    except ValueError:
        tolerance = -1.0
    if not math.isfinite(tolerance) or tolerance < 0:
        raise BadInput(f"{where}: tolerance must be a number from 0 on (0.01 is 1 %), not {text}")
    return tolerance


def _hint(name: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
