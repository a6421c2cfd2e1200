"""Operations: the typed steps that build a query, and their text form, in which a statement carries them along.

Invariant: reading never raises; what was not written here is as good as absent.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Discriminator, TypeAdapter, ValidationError

Comparison = Literal["=", "!=", ">", "<", ">=", "<=", "like", "not like", "between", "is null", "is not null"]
Membership = Literal["=", "!=", ">", "<", ">=", "<=", "in", "not in"]
Function = Literal["", "count", "sum", "avg", "min", "max"]
SetOperator = Literal["union", "union all", "intersect", "except"]
Arithmetic = Literal["+", "-", "*", "/"]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
MEMBERSHIPS: tuple[Membership, ...] = get_args(Membership)
FUNCTIONS: tuple[Function, ...] = get_args(Function)
SET_OPERATORS: tuple[SetOperator, ...] = get_args(SetOperator)
Scalar = str | int | float
MOST = 64
"""Operations of one query that are read back at most."""
_MARK = "-- operations: "


@dataclass(frozen=True, slots=True)
class Ref:
    """A column of the frame's source number `source`, counted from 0 in the order in which they were scanned."""

    source: int
    column: str


@dataclass(frozen=True, slots=True)
class Item:
    """A column, or a function of it; no column means the rows themselves, which can only be counted."""

    ref: Ref | None
    function: Function = ""
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """Begin a frame with a table; or, where the frame has one, set the table beside it without a condition."""

    table: str
    kind: Literal["scan"] = "scan"


@dataclass(frozen=True, slots=True)
class Join:
    """Join a table along `left` = its column; `outer` keeps rows without a partner."""

    left: Ref
    table: str
    column: str
    outer: bool = False
    kind: Literal["join"] = "join"


@dataclass(frozen=True, slots=True)
class Filter:
    """Keep rows whose column compares so with the values; `either`: or else the condition before holds."""

    ref: Ref
    operator: Comparison
    values: tuple[Scalar, ...] = ()
    either: bool = False
    kind: Literal["filter"] = "filter"


@dataclass(frozen=True, slots=True)
class Match:
    """Keep rows in which two columns compare so."""

    ref: Ref
    operator: Membership
    other: Ref
    either: bool = False
    kind: Literal["match"] = "match"


@dataclass(frozen=True, slots=True)
class Nest:
    """Begin a sub-query, with whose result the item is compared; a function of a column makes that a HAVING."""

    item: Item
    operator: Membership
    either: bool = False
    kind: Literal["nest"] = "nest"


@dataclass(frozen=True, slots=True)
class Close:
    """End the sub-query."""

    kind: Literal["close"] = "close"


@dataclass(frozen=True, slots=True)
class Group:
    """Group by one more column."""

    ref: Ref
    kind: Literal["group"] = "group"


@dataclass(frozen=True, slots=True)
class Having:
    """Keep groups whose function compares so with the values."""

    item: Item
    operator: Comparison
    values: tuple[Scalar, ...] = ()
    either: bool = False
    kind: Literal["having"] = "having"


@dataclass(frozen=True, slots=True)
class Project:
    """Show one more column, or a function of one; a frame that projects nothing shows all it has.

    With an operator it shows the item combined with `other`.
    """

    item: Item
    operator: Arithmetic | Literal[""] = ""
    other: Item | None = None
    kind: Literal["project"] = "project"


@dataclass(frozen=True, slots=True)
class Distinct:
    """Show each row once."""

    kind: Literal["distinct"] = "distinct"


@dataclass(frozen=True, slots=True)
class Order:
    """Order by one more item; NULL comes first in ascending order and last in descending."""

    item: Item
    descending: bool = False
    kind: Literal["order"] = "order"


@dataclass(frozen=True, slots=True)
class Limit:
    """Keep the first rows."""

    count: int
    kind: Literal["limit"] = "limit"


@dataclass(frozen=True, slots=True)
class Combine:
    """Begin another query, whose rows are combined with those so far."""

    operator: SetOperator
    kind: Literal["combine"] = "combine"


@dataclass(frozen=True, slots=True)
class Submit:
    """The result is the answer."""

    kind: Literal["submit"] = "submit"


Operation = Annotated[
    Scan
    | Join
    | Filter
    | Match
    | Nest
    | Close
    | Group
    | Having
    | Project
    | Distinct
    | Order
    | Limit
    | Combine
    | Submit,
    Discriminator("kind"),
]
KINDS = (
    "scan", "join", "filter", "match", "nest", "close", "group", "having", "project", "distinct", "order", "limit",
    "combine", "submit",
)  # fmt: skip
Operations = tuple[Operation, ...]
OPERATIONS: TypeAdapter[Operations] = TypeAdapter(Operations)


def carried(sql: str, operations: Operations) -> str:
    """The statement with the operations that made it in a closing comment, so that whoever reads it can go on."""
    text = json.dumps(OPERATIONS.dump_python(operations, mode="json"), separators=(",", ":"))  # in ASCII: one line
    return f"{sql}\n{_MARK}{text}"


def bare(statement: str) -> str:
    """The statement without what it carries."""
    sql, mark, _ = statement.rpartition(f"\n{_MARK}")
    return sql if mark else statement


def read_operations(statement: str) -> Operations | None:
    """The operations that a statement carries; None if it carries none that can be read."""
    _, mark, text = statement.rpartition(f"\n{_MARK}")
    if not mark:
        return None
    try:
        operations = OPERATIONS.validate_json(text)
    except ValidationError:
        return None
    return operations if 0 < len(operations) <= MOST else None
