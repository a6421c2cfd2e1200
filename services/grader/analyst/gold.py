"""What the grader knows of an analyst's task beside its gold query: hidden copies of the database, keys and costs."""

from typing import Literal

from pydantic import Field

from services.contracts.record import Record
from services.contracts.statements import Rows

Kind = Literal["fix_broken_join", "category_revenue", "churn_analysis"]


class HiddenCopy(Record):
    """A database of the same schema from another seed, and what the gold query gives there."""

    database: str
    rows: Rows


class KeyColumn(Record):
    """One side of the join that a task is about; names in lower case."""

    table: str
    column: str


class CostRange(Record):
    """Costs on the first hidden copy: of the query that the task shows, and of one without its fat."""

    engine: str = Field(description="DuckDB's version, whose profile gave the figures")
    slow: float = Field(gt=0)
    lean: float = Field(gt=0)


class AnalystGold(Record):
    """The analyst's part of a GoldAnswer; the whole answer on the visible database is that of the GoldAnswer."""

    kind: Kind
    copies: tuple[HiddenCopy, ...] = Field(min_length=1)
    tables: dict[str, tuple[str, ...]] = Field(description="columns by table, in lower case")
    keys: tuple[KeyColumn, KeyColumn]
    cost: CostRange | None = Field(default=None, description="of churn_analysis")
