"""An intent: what a question asks of the schema, before it is SQL."""

from dataclasses import dataclass

from services.policy.heuristic.reading import Column, Table


@dataclass(frozen=True, slots=True)
class Item:
    """Something selected or ordered by; no column means the rows themselves."""

    column: Column | None
    function: str = ""
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """`column operator values`; a value is text or digits. a `function` compares with
    that function of the whole column instead."""

    column: Column
    operator: str
    values: tuple[str, ...]
    function: str = ""


@dataclass(frozen=True, slots=True)
class Having:
    """A bound on the rows of a group, or on a function of a column in it."""

    item: Item
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A question read: `both` asks for what meets every condition in turn, by different rows."""

    items: tuple[Item, ...] = ()
    distinct: bool = False
    conditions: tuple[Condition, ...] = ()
    excluded: tuple[Table, ...] = ()
    tables: tuple[Table, ...] = ()
    group: tuple[Column, ...] = ()
    having: tuple[Having, ...] = ()
    order: tuple[tuple[Item, bool], ...] = ()
    limit: int = 0
    both: bool = False
    everything: bool = False
