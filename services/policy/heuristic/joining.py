"""Joins: foreign keys guessed from names, and the shortest way to connect tables by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush

from services.policy.heuristic.reading import Column, Schema, Table
from services.policy.heuristic.words import identifier_words

_KEYS = ("id", "code", "number", "ssn", "key", "isbn", "model")
_WEAK = frozenset(("id", "name", "date", "type", "description", "year", "code", "number", "status", "title", "age",
                   "detail", "time", "location", "city", "country", "address", "note", "other_detail", "gender", "sex",
                   "first_name", "last_name", "middle_name", "zip_code", "phone", "amount", "price", "email",
                   "rank", "position"))  # fmt: skip

_TIMES = frozenset(("date", "time", "update", "year", "timestamp"))


@dataclass(frozen=True, slots=True)
class Edge:
    """`left` = `right`, and how doubtful that is."""

    left: Column
    right: Column
    cost: float


@lru_cache(maxsize=256)
def edges(schema: Schema) -> dict[str, tuple[Edge, ...]]:
    """The likely join conditions out of each table."""
    found: dict[str, list[Edge]] = {table.name: [] for table in schema.tables}
    for i, one in enumerate(schema.tables):
        for other in schema.tables[i + 1 :]:
            for edge in likely_edges(one, other)[:1]:
                found[one.name].append(edge)
                found[other.name].append(Edge(edge.right, edge.left, edge.cost))
    return {name: tuple(listed) for name, listed in found.items()}


def join_path(schema: Schema, wanted: Sequence[str]) -> list[Edge] | None:
    """Edges that connect the wanted tables, each from a table already joined; None if there are none."""
    joined, path = {wanted[0]}, list[Edge]()
    for target in wanted[1:]:
        if target in joined:
            continue
        steps = _shortest(schema, joined, target)
        if steps is None:
            return None
        path.extend(steps)
        joined.update(edge.right.table for edge in steps)
    return path


@lru_cache(maxsize=4096)
def likely_edges(one: Table, other: Table) -> tuple[Edge, ...]:
    """The likely join conditions from one table to another, the least doubtful first."""
    pairs = [Edge(a, b, _cost(a, one, b, other)) for a in one.columns for b in other.columns]
    return tuple(sorted((edge for edge in pairs if edge.cost < 9), key=lambda edge: edge.cost))


def is_unique_key(column: Column) -> bool:
    """Whether the name says that the column identifies the rows of its table."""
    owner, words = identifier_words(column.table), identifier_words(column.name)
    return column.position == 0 and words[-1:] == ("id",) and (len(words) == 1 or words[-2] in owner)


def key_of(table: Table) -> Column:
    """The column that most likely identifies a row: the first, unless another is plainly the id."""
    owner = identifier_words(table.name)
    for column in table.columns[:2]:
        if identifier_words(column.name) in (("id",), (*owner, "id")):
            return column
    return table.columns[0]


def _shortest(schema: Schema, joined: set[str], target: str) -> list[Edge] | None:
    graph = edges(schema)
    queue: list[tuple[float, int, str, list[Edge]]] = [(0.0, i, name, []) for i, name in enumerate(sorted(joined))]
    seen: set[str] = set()
    count = len(queue)
    while queue:
        cost, _, name, path = heappop(queue)
        if name == target:
            return path
        if name in seen:
            continue
        seen.add(name)
        for edge in graph.get(name, ()):
            if edge.right.table not in seen and edge.right.table not in joined:
                count += 1
                heappush(queue, (cost + edge.cost, count, edge.right.table, [*path, edge]))
    return None


def _cost(a: Column, one: Table, b: Column, other: Table) -> float:
    """How doubtful it is that the columns are key and foreign key; 9 for not at all likely."""
    first, second = identifier_words(a.name), identifier_words(b.name)
    if first == second:
        return _same_name_cost(a, one, b, other, first)
    return min(_reference_cost(a, first, b, second, other), _reference_cost(b, second, a, first, one))


def _same_name_cost(a: Column, one: Table, b: Column, other: Table, words: Sequence[str]) -> float:
    if (len(words) == 1 and words[0] in _WEAK) or "_".join(words) in _WEAK or not words:
        return 9.0
    if not _TIMES.isdisjoint(words) and not (a.position == 0 and b.position == 0):
        return 9.0
    leads = a.position == 0 or b.position == 0
    if words[-1] in _KEYS:
        return 1.0 if leads else 1.3
    return (1.2 if leads else 2.5) if a.numeric == b.numeric else 9.0


def _reference_cost(a: Column, first: Sequence[str], b: Column, second: Sequence[str], owner: Table) -> float:
    """How doubtful it is that `a` refers to `b`, an identifying column of `owner`."""
    if b.position > 1 or not first or not second or a.numeric != b.numeric:
        return 9.0
    table = identifier_words(owner.name)
    stem = tuple(first[:-1]) if first[-1] in _KEYS else tuple(first)
    if stem and b == key_of(owner):
        if stem == table:
            return 1.0 if first[-1] in _KEYS else 1.4
        if table and stem[-1] == table[-1] and first[-1] in _KEYS:
            return 1.3
        if stem == tuple(second[:-1]):
            return 1.5
    if first[-1] in _KEYS and len(second) > 1 and tuple(first[-len(second) :]) == tuple(second):
        return 1.3
    return 9.0
