"""What comes back from the sandbox: rows, or one of three ways in which a statement did not give any.

A cell is a JSON value. What JSON lacks is an object with one key that names its type:
{"decimal": "1.50"}, {"date": "2024-01-31"}, {"timestamp": …}, {"float": "nan"}, {"blob": "ff00"}, {"uuid": …}.
Dates and timestamps that Python has no day for are among them ("infinity", "10000-01-01"), and a FLOAT has the digits
that the engine shows. Lists and arrays are lists. Times, timestamps with a zone or nanoseconds, intervals, bits, enums,
structs, maps and unions, and whole lists of structs, maps, unions or JSON, are text as the engine writes them.
"""

import hashlib
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, SkipValidation

from services.contracts.record import Record

Cell = JsonValue
Rows = list[list[Cell]]


class QueryFacts(Record):
    """What the guard learnt from a statement's syntax tree. Names are lower case."""

    tables: tuple[str, ...] = Field(description="base tables read, sorted")
    columns: tuple[tuple[str, str], ...] = Field(description="(table, column) named or behind a *, sorted")
    tree: str = Field(description="hash of the normalised syntax tree")
    skeleton: str = Field(description="hash of the tree without constants, aliases and LIMIT")
    literals: tuple[str, ...] = Field(description="constants of the statement outside LIMIT, as text, sorted")
    from_data: bool = Field(description="its outputs are more than constants")
    volatile: bool = Field(description="its result may differ from run to run")


class ResultTable(Record):
    """A statement's result, whole unless `truncated`."""

    kind: Literal["rows"] = "rows"
    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: SkipValidation[Rows]
    truncated: bool = False
    facts: QueryFacts

    def __copy__(self) -> Self:
        """A copy without the texts that are kept below: `model_copy` may change a field of it."""
        return self.model_construct(self.model_fields_set, **dict(self))

    @cached_property
    def json_text(self) -> str:
        """The result as it is stored."""
        return self.model_dump_json()

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that stand for the result: what is worked out of it is kept by them."""
        return hashlib.blake2b(self.json_text.encode(), digest_size=16).digest()


class Refused(Record):
    """The guard did not let the statement through."""

    kind: Literal["refused"] = "refused"
    reason: Literal["syntax", "forbidden", "too_long"]
    message: str


class SqlError(Record):
    """The engine ran the statement and reported an error."""

    kind: Literal["sql_error"] = "sql_error"
    message: str


class LimitHit(Record):
    """The statement ran into a limit; taken as given by a regrade."""

    kind: Literal["limit"] = "limit"
    reason: Literal["timeout", "memory", "result_size", "crash"]
    message: str


StatementOutcome = Annotated[ResultTable | Refused | SqlError | LimitHit, Field(discriminator="kind")]
