"""The hidden half of a task, and its file."""

from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from services.contracts.cells import cell_number, is_exact
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.contracts.statements import Cell, Rows
from services.grader.analyst.gold import AnalystGold

AnswerType = Literal["integer", "float", "string", "list", "table"]
ANSWER_TYPES: tuple[AnswerType, ...] = get_args(AnswerType)


class GoldAnswer(Record):
    """The gold of one task (sqlenv-v1-spec §4.3). `gold_answer` is a cell, a list of cells or a list of rows."""

    task_id: str
    gold_sql: str = Field(description="empty if only the answer is known")
    gold_answer: Cell
    answer_type: AnswerType
    ordered: bool = Field(default=False, description="row order counts (lists and tables)")
    tie_groups: tuple[int, ...] = Field(
        default=(), description="of an ordered answer: sizes of the runs of rows that tie and may change places"
    )
    tolerance: float = Field(default=0.01, ge=0, description="relative, for floats only")
    tables_involved: tuple[str, ...] = ()
    source_sql: str | None = Field(default=None, description="the gold before it was translated to DuckDB")
    changes: tuple[str, ...] = Field(default=(), description="what the translation changed, by name")
    analyst: AnalystGold | None = Field(default=None, exclude_if=lambda part: part is None, description="its own part")

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        """A list or table has rows, all of one width above 0."""
        if self.answer_type in ("list", "table") and not isinstance(self.gold_answer, list):
            raise ValueError(f"a {self.answer_type} must be written as a list")
        widths = {len(row) for row in self.rows()}
        if len(widths) != 1 or 0 in widths:
            raise ValueError("the gold answer has no rows, or rows of different widths")
        return self

    def rows(self) -> Rows:
        """The answer as rows, whatever its type."""
        match self.answer_type, self.gold_answer:
            case "list", list(cells):
                return [[cell] for cell in cells]
            case "table", list(rows):
                return [row if isinstance(row, list) else [row] for row in rows]
            case _:
                return [[self.gold_answer]]


def shape_answer(rows: Rows) -> tuple[AnswerType, Cell]:
    """The answer type that fits a result, and the result in that form. `rows` must not be empty."""
    if len(rows[0]) > 1:
        return "table", [list(row) for row in rows]
    if len(rows) > 1:
        return "list", [row[0] for row in rows]
    cell = rows[0][0]
    if is_exact(cell):
        return "integer", cell
    return ("float", cell) if cell_number(cell) is not None else ("string", cell)


def read_gold(path: Path) -> dict[str, GoldAnswer]:
    """Gold answers by task id. Raises BadInput with the line that is wrong."""
    golds: dict[str, GoldAnswer] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path.name} of the task set: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            gold = GoldAnswer.model_validate_json(line)
        except ValidationError as error:
            raise BadInput(f"{path.name} line {number}: {error.errors()[0]['msg']}") from error
        golds[gold.task_id] = gold
    return golds
