"""Candidates: the operations worth considering in a state, each with its arguments, all legal, in a fixed order.

Arguments come from the schema, from keys guessed by names, from the question's words and from cells found.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations, pairwise

from services.policy.heuristic.joining import key_of, likely_edges
from services.policy.heuristic.reading import Column, Table
from services.policy.heuristic.words import identifier_words
from services.policy.tier.frames import Frame, State, all_refs, column_of
from services.policy.tier.knowledge import Knowledge, Value
from services.policy.tier.operations import (
    Close,
    Combine,
    Comparison,
    Distinct,
    Filter,
    Function,
    Group,
    Having,
    Item,
    Join,
    Limit,
    Match,
    Membership,
    Nest,
    Operation,
    Order,
    Project,
    Ref,
    Scan,
    SetOperator,
    Submit,
)
from services.policy.tier.state import FILTER, GROUP, HAVING, JOIN, ORDER, PROJECT, is_legal

MOST_CANDIDATES = 1024
"""Candidates of one state; what would come after is left out."""
_ORDERED: tuple[Comparison, ...] = ("=", ">", "<", ">=", "<=", "!=")
_COMPARED: tuple[Membership, ...] = ("=", ">", "<", ">=", "<=", "!=")
_COMBINED: tuple[SetOperator, ...] = ("intersect", "union", "except")
_MEASURES = frozenset(
    ("count", "amount", "price", "cost", "number", "total", "rate", "score", "age", "salary", "size", "value",
     "quantity", "year", "balance", "fee", "money", "charge", "payment", "length", "height", "weight", "temperature"),
)  # fmt: skip
_PLAIN = frozenset(("name", "date", "description", "title", "detail", "address", "phone", "email", "time", "type"))
_JOINS = 3
_NAMED = 0.5
"""From which affinity on the question is taken to name a column."""


@lru_cache(maxsize=512)
def candidates(state: State, knowledge: Knowledge) -> tuple[Operation, ...]:
    """The candidates of a state; empty after a submission only, or where no table is known."""
    legal = (one for one in _all(state, knowledge) if is_legal(state, one, knowledge.schema))
    return tuple(dict.fromkeys(legal))[:MOST_CANDIDATES]


def _all(state: State, knowledge: Knowledge) -> Iterator[Operation]:
    frame = state.frame
    if not frame.sources:
        yield from (Scan(table.name) for table in knowledge.schema.tables)
        return
    refs = all_refs(frame, knowledge.schema)
    known = [(ref, column) for ref in refs if (column := column_of(frame, ref, knowledge.schema)) is not None]
    yield Submit()
    yield Close()
    yield Distinct()
    yield from map(Combine, _COMBINED)
    yield from _limits(knowledge)
    if frame.stage <= JOIN:
        yield from _joins(frame, knowledge)
    if frame.stage <= GROUP:
        yield from map(Group, refs)
    functions = list(_functions(known, knowledge)) if frame.stage <= ORDER else []
    if frame.stage <= PROJECT:
        yield from map(Project, (Item(None, "count"), *(Item(ref) for ref in refs), *functions))
    if frame.stage <= ORDER:
        yield from _orders(frame, known, functions)
    if frame.stage <= FILTER:
        yield from _filters(frame, known, knowledge)
    if frame.stage <= HAVING:
        yield from _havings(frame, functions, knowledge)
        yield from _nests(frame, known, knowledge)
    if frame.stage <= FILTER:
        yield from _matches(known, knowledge)


def _limits(knowledge: Knowledge) -> Iterator[Limit]:
    yield Limit(1)
    yield from (Limit(one.value) for one in knowledge.numbers if isinstance(one.value, int) and 1 < one.value <= 100)


def _joins(frame: Frame, knowledge: Knowledge) -> Iterator[Join]:
    for number, source in enumerate(frame.sources):
        mine = knowledge.schema.table(source.table)
        for table in knowledge.schema.tables if mine is not None else ():
            for left, right in join_columns(mine, table) if mine is not None else ():
                yield Join(Ref(number, left), table.name, right)


@lru_cache(maxsize=4096)
def join_columns(one: Table, other: Table) -> tuple[tuple[str, str], ...]:
    """Names of columns to join two tables along: what looks like a key of the other, then what may be one."""
    likely = [(edge.left.name, edge.right.name) for edge in likely_edges(one, other)[:_JOINS]] if one != other else []
    mine, theirs = key_of(one), key_of(other)
    pointing = [(a.name, theirs.name) for a in one.columns if _may_point(a, theirs)]
    pointed = [(mine.name, b.name) for b in other.columns if _may_point(b, mine)]
    return tuple(dict.fromkeys((*likely, *pointing, *pointed)))


def _may_point(column: Column, key: Column) -> bool:
    """Whether the column may hold the key: neither a measure nor a name, of the same type or called an id."""
    words = identifier_words(column.name)
    if not _PLAIN.isdisjoint(words) or not _MEASURES.isdisjoint(words):
        return False
    return column.numeric == key.numeric or words[-1:] == ("id",)


def is_measure(column: Column) -> bool:
    """Whether sums and means of the column make sense, even where its numbers are kept as text."""
    return column.numeric or not _MEASURES.isdisjoint(identifier_words(column.name))


def _functions(known: list[tuple[Ref, Column]], knowledge: Knowledge) -> Iterator[Item]:
    for ref, column in known:
        measured = is_measure(column) or knowledge.affinity(column) > _NAMED
        functions: tuple[Function, ...] = ("sum", "avg", "max", "min") if measured else ("max", "min")
        yield from (Item(ref, function) for function in functions)
        yield Item(ref, "count")
        yield Item(ref, "count", True)


def _orders(frame: Frame, known: list[tuple[Ref, Column]], functions: list[Item]) -> Iterator[Order]:
    items = [Item(ref) for ref, _ in known]
    if frame.group:
        items += [Item(None, "count"), *functions]
    for item in items if frame.shown or not frame.group else ():
        yield Order(item, True)
        yield Order(item, False)


def _filters(frame: Frame, known: list[tuple[Ref, Column]], knowledge: Knowledge) -> Iterator[Filter]:
    for ref, column in known:
        for value in knowledge.values:
            for operator in _operators(column, value, knowledge):
                yield Filter(ref, operator, (_as_held(column, value),))
                if frame.where:
                    yield Filter(ref, operator, (_as_held(column, value),), either=True)
        yield from _ranges(ref, column, knowledge)
        yield Filter(ref, "is null")
        yield Filter(ref, "is not null")


def _as_held(column: Column, value: Value) -> str | int | float:
    """A cell or a quoted number as the column would have it."""
    if column.numeric and isinstance(value.value, str) and value.value.isdecimal():
        return int(value.value[:18])
    return value.value


def _operators(column: Column, value: Value, knowledge: Knowledge) -> tuple[Comparison, ...]:
    named = knowledge.affinity(column) >= _NAMED
    match value.kind:
        case "hit":
            return ("=", "!=") if column in value.columns else ()
        case "number":
            return _ORDERED if named or is_measure(column) else ()
        case "literal":
            return _ORDERED if not column.numeric or str(value.value).isdecimal() else ()
        case "guess":
            fits = column.numeric == isinstance(value.value, int)
            return ("=", ">") if value.value == 0 and fits and named else ("=",) if fits and named else ()
        case _:
            return ("like", "not like") if not column.numeric else ()


def _ranges(ref: Ref, column: Column, knowledge: Knowledge) -> Iterator[Filter]:
    numbers = [one.value for one in knowledge.numbers]
    texts = [one.value for one in knowledge.values if one.kind == "literal"]
    if is_measure(column) or knowledge.affinity(column) >= _NAMED:
        yield from (Filter(ref, "between", ends) for ends in pairwise(numbers))
    if not column.numeric:
        yield from (Filter(ref, "between", ends) for ends in pairwise(texts))


def _havings(frame: Frame, functions: list[Item], knowledge: Knowledge) -> Iterator[Having]:
    numbers = [one.value for one in knowledge.numbers]
    count = Item(None, "count")
    for number in dict.fromkeys((*numbers, 1)) if frame.group else ():
        yield from (Having(count, operator, (number,)) for operator in _ORDERED)
    for item in functions if frame.group else ():
        if item.function != "count" or item.distinct:
            yield from (Having(item, operator, (number,)) for number in numbers for operator in _ORDERED[:5])
    yield from (Having(count, "between", ends) for ends in pairwise(numbers))


def _nests(frame: Frame, known: list[tuple[Ref, Column]], knowledge: Knowledge) -> Iterator[Nest]:
    for ref, column in known:
        yield Nest(Item(ref), "in")
        yield Nest(Item(ref), "not in")
        ordered = is_measure(column) or knowledge.affinity(column) >= _NAMED
        yield from (Nest(Item(ref), operator) for operator in (_COMPARED if ordered else _COMPARED[:1]))
        if frame.group and ordered:
            yield Nest(Item(ref, "avg"), ">")
            yield Nest(Item(ref, "avg"), "<")


def _matches(known: list[tuple[Ref, Column]], knowledge: Knowledge) -> Iterator[Match]:
    """Columns of one name in two sources, and numbers that the question names, compared."""
    for (ref, column), (other, twin) in combinations(known, 2):
        same = ref.source != other.source and column.name.lower() == twin.name.lower()
        named = column.numeric == twin.numeric and is_measure(column) and is_measure(twin)
        if same or (named and min(knowledge.affinity(column), knowledge.affinity(twin)) >= _NAMED):
            yield from (Match(ref, operator, other) for operator in ("=", "!=", "<", ">"))
