"""What is asked of a comparison of two tables, and what it answers."""

from typing import Literal

from pydantic import Field

from services.contracts.record import Record
from services.grader.tables.schema import SchemaDifference

TableVerdict = Literal["identical", "within_tolerance", "different"]
MAX_EXAMPLES = 20


class TableRules(Record):
    """How two tables are compared."""

    key: tuple[str, ...] = Field(default=(), description="columns that name a row; none: rows are bags")
    ignore: tuple[str, ...] = Field(default=(), description="columns that are left out, by name")
    rtol: float = Field(default=1e-9, ge=0, lt=1, description="relative to the larger of the two magnitudes")
    atol: float = Field(default=1e-9, ge=0, allow_inf_nan=False, description="in units of a column's typical size")
    examples: int = Field(default=MAX_EXAMPLES, ge=0, le=MAX_EXAMPLES, description="0: the verdict without counts")


class TableJob(Record):
    """Two tables and the rules."""

    left: str = Field(description="the reference: a Parquet file or folder, a Delta folder, or FILE.duckdb::TABLE")
    right: str
    rules: TableRules = TableRules()


class ColumnDrift(Record):
    """How far a FLOAT or DOUBLE column has drifted, over the rows that were paired within the tolerance."""

    column: str
    worst_absolute: float
    worst_relative: float = Field(description="|a-b| / max(|a|,|b|)")
    rows: int = Field(description="paired rows whose values differ")
    atol: float = Field(description="the absolute part of the tolerance in the column's own units")


class Counterexample(Record):
    """A row that has no equal on the other side, beside its nearest partner there. Values are text, NULL is None."""

    kind: Literal["missing", "extra", "changed"]
    left: dict[str, str | None] | None
    right: dict[str, str | None] | None
    columns: tuple[str, ...] = Field(description="where the two differ")


class Comparison(Record):
    """The verdict on two tables."""

    verdict: TableVerdict
    left: str
    right: str
    rules: TableRules
    left_rows: int | None = Field(description="None if the columns already differed")
    right_rows: int | None
    columns: int = Field(description="columns compared")
    schema_differences: tuple[SchemaDifference, ...] = ()
    missing: int | None = Field(default=None, description="rows of the left without a partner; None: not counted")
    extra: int | None = Field(default=None, description="rows of the right without a partner")
    changed: int | None = Field(
        default=None, description="pairs by the key, or by all exact columns if there is none, with other values"
    )
    drift: tuple[ColumnDrift, ...] = ()
    counterexamples: tuple[Counterexample, ...] = ()
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether the tables are equal, within the tolerance at least."""
        return self.verdict != "different"
