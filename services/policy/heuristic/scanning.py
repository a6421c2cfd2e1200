"""Scanning: the mentions and cues of a question, taken from left to right, make an intent."""

from collections.abc import Sequence
from typing import assert_never

from services.policy.heuristic.bounding import bound, compare_with_average, take_value, take_word
from services.policy.heuristic.cues import Cue, Kind, find_cues, number_of
from services.policy.heuristic.draft import REACH, Draft
from services.policy.heuristic.intent import Condition, Intent, Item
from services.policy.heuristic.joining import edges
from services.policy.heuristic.linking import Mention
from services.policy.heuristic.naming import implied_column, name_columns
from services.policy.heuristic.reading import Column, Schema, Table
from services.policy.heuristic.words import Word, identifier_words

_MEASURES = frozenset(("count", "amount", "price", "cost", "number", "total", "rate", "score", "age", "salary", "size"))


def read_intent(words: Sequence[Word], mentions: Sequence[Mention], schema: Schema) -> Intent:
    """What the question asks."""
    draft = Draft(words, schema)
    cues = [left for cue in find_cues(words) if (left := _uncovered(words, cue, mentions)) is not None]
    found: list[Cue | Mention] = [*cues, *(mention for mention in mentions if not _is_phrase(mention, cues))]
    taken = {i for item in found for i in range(item.start, item.end)}
    events: list[tuple[int, Cue | Mention | None]] = [(item.start, item) for item in found]
    events += [(i, None) for i in range(len(words)) if i not in taken]
    for position, event in sorted(events, key=lambda pair: pair[0]):
        _take(draft, position, event)
    return draft.finish()


def _is_covered(cue: Cue, mentions: Sequence[Mention]) -> bool:
    """Whether a name or a value uses the cue's words; a longer cue than name still counts."""
    overlapping = (item for item in mentions if item.start < cue.end and cue.start < item.end)
    return any(item.end - item.start > 1 or cue.end - cue.start == 1 or item.hits for item in overlapping)


def _uncovered(words: Sequence[Word], cue: Cue, mentions: Sequence[Mention]) -> Cue | None:
    """The cue, or what is left of it where a column like `number_of_seats` or `max_speed` takes its other words."""
    if not _is_covered(cue, mentions):
        return cue
    before = [word.stem for word in words[max(0, cue.start - 2) : cue.start]]
    match cue.kind:
        case Kind.COUNT if "total" in [word.stem for word in words[cue.start : cue.end]]:
            return Cue(cue.start, cue.start + 1, Kind.AGGREGATE, "sum")
        case Kind.FREQUENT if cue.end - cue.start > 1:
            return Cue(cue.start, cue.start + 1, Kind.SUPERLATIVE, "desc" if cue.value == "most" else "asc", cue.limit)
        case Kind.SUPERLATIVE if before in (["with", "the"], ["have", "the"], ["has", "the"], ["had", "the"]):
            return cue
        case _:
            return None


def _is_phrase(mention: Mention, cues: Sequence[Cue]) -> bool:
    """Whether a single word that names something is only part of a cue: the order in `in ascending order`."""
    inside = (cue for cue in cues if cue.start <= mention.start and mention.end <= cue.end)
    return not mention.hits and any(cue.end - cue.start > 1 for cue in inside)


def _take(draft: Draft, position: int, event: Cue | Mention | None) -> None:
    """The next cue, mention or plain word."""
    match event:
        case Cue():
            _cue(draft, event)
        case Mention():
            _mention(draft, event)
        case None:
            take_word(draft, position)
        case _:
            assert_never(event)


def _cue(draft: Draft, cue: Cue) -> None:
    match cue.kind:
        case Kind.COUNT:
            _count(draft, cue)
        case Kind.AGGREGATE:
            draft.functions.append(cue.value)
            if draft.operator and draft.last and cue.start - draft.operator[0] <= 3:
                compare_with_average(draft, draft.last[1])
        case Kind.SUPERLATIVE:
            _superlative(draft, cue)
        case Kind.FREQUENT:
            draft.frequent = cue
            draft.zone = "where" if draft.items or draft.tables else draft.zone
        case Kind.COMPARE:
            draft.operator = (cue.end, cue.value)
        case Kind.DISTINCT:
            draft.distinct = draft.distinct or draft.zone == "select"
        case Kind.GROUP | Kind.ORDER:
            draft.zone = "group" if cue.kind is Kind.GROUP else "order"
            draft.counting = None
        case Kind.WHERE:
            if draft.zone == "order":
                draft.close_order()
            draft.zone = "where" if cue.start > 0 else draft.zone
        case Kind.START:
            draft.zone = "select" if draft.zone != "order" else "order"
        case Kind.NEGATE:
            draft.negated = cue.start
        case Kind.LIKE:
            draft.like = cue.value
        case Kind.BOTH:
            draft.both = draft.zone != "select" or bool(draft.items)
        case Kind.EVERYTHING:
            draft.everything = True
        case Kind.END:
            draft.end_sentence()
        case _:
            assert_never(cue.kind)


def _superlative(draft: Draft, cue: Cue) -> None:
    """`maximum` at the head asks for the function itself; more than one may stand before its column."""
    word = draft.words[cue.end - 1].text.lower()
    plain = any(not item.function for item in draft.items)
    if draft.zone == "select" and not plain and word in ("maximum", "max", "minimum", "min"):
        draft.functions.append(word[:3])
    else:
        draft.superlative = cue


def _count(draft: Draft, cue: Cue) -> None:
    if draft.functions or (draft.zone == "where" and draft.items):
        return
    if draft.zone == "order":
        draft.order.append((Item(None, "count"), draft.descending))
        return
    draft.zone = "select"
    draft.counting = "total" if "total" in [word.stem for word in draft.words[cue.start : cue.end]] else cue.value
    draft.led = draft.led or draft.words[cue.start].stem == "how"
    if cue.value != "distinct" and any(item.function == "count" and item.column is None for item in draft.items):
        draft.counting = None


def _mention(draft: Draft, mention: Mention) -> None:
    if mention.hits:
        take_value(draft, mention)
    elif mention.table is not None and (not mention.columns or _wants_table(draft, mention)):
        _table(draft, mention.table, mention)
    elif mention.columns:
        _column(draft, mention.columns[0], mention)


def _wants_table(draft: Draft, mention: Mention) -> bool:
    """Whether words that name a table as well as a column mean the table."""
    table = mention.table
    if table is None or draft.zone == "order" or draft.functions:
        return False
    if draft.zone == "group":
        return not mention.exact
    if draft.counting is not None or draft.frequent is not None or draft.number is not None:
        return draft.counting != "distinct"
    return draft.zone == "where" or bool(draft.items) or bool(name_columns(table))


def _column(draft: Draft, column: Column, mention: Mention) -> None:
    draft.before = draft.last[0] if draft.last is not None else 0
    draft.last = (mention.end, column)
    if draft.pattern is not None and mention.start - draft.pattern[0] <= REACH:
        draft.conditions.append(Condition(column, draft.pattern[1], (draft.pattern[2],)))
        draft.pattern = None
        return
    if draft.zone == "order":
        function = draft.functions.pop() if draft.functions else ""
        draft.order.append((Item(column, function), draft.descending))
    elif draft.zone == "group" or _continues_group(draft, mention):
        _group(draft, column)
    elif draft.number is not None and mention.start - draft.number[0] <= 2 and column.numeric:
        bound(draft, column, draft.number[1], mention.end)
    elif draft.frequent is not None:
        measure = _measure(draft, column)
        if not draft.items and measure.column is None:
            draft.items.append(Item(column))
        draft.rank_by(measure)
    elif draft.superlative is not None:
        _extreme(draft, column, mention)
    elif draft.operator is not None and draft.functions and draft.zone == "where":
        compare_with_average(draft, column)
    elif draft.zone == "select":
        _select(draft, column, mention)
    draft.number = None


def _continues_group(draft: Draft, mention: Mention) -> bool:
    """Whether `and` alone stands between the last grouping column and this one."""
    between = [word.text for word in draft.words[draft.grouped : mention.start] if word.text not in ("the", "each")]
    return draft.grouped > 0 and between == ["and"]


def _continues(draft: Draft, mention: Mention) -> bool:
    """Whether `and` alone stands between the column before and this one."""
    return [word.text for word in draft.words[draft.before : mention.start]] in (["and"], [","], [",", "and"])


def _holds_count(column: Column) -> bool:
    words = identifier_words(column.name)
    return words[:1] == ("number",) or (words[-1:] == ("count",) and len(words) > 1)


def _is_measure(column: Column) -> bool:
    """Whether sums and means of the column make sense, even where its numbers are kept as text."""
    return column.numeric or not _MEASURES.isdisjoint(identifier_words(column.name))


def _measure(draft: Draft, column: Column) -> Item:
    counted = column.numeric and identifier_words(column.name)[-1:] != ("id",)
    return Item(column) if counted else Item(None, "count")


def _select(draft: Draft, column: Column, mention: Mention) -> None:
    if draft.counting is not None:
        distinct = draft.counting == "distinct" or draft.distinct
        if not distinct and _holds_count(column):
            draft.items.append(Item(column, "sum" if draft.counting == "total" else ""))
        else:
            draft.items.append(Item(column, "count", True) if distinct else Item(None, "count"))
            draft.need(column.table)
        draft.counting, draft.distinct = None, False
        return
    if mention.start == draft.valued and any(one.column == column for one in draft.conditions):
        return
    if not draft.functions and _continues(draft, mention) and column.numeric and draft.items:
        draft.functions = [draft.items[-1].function]
    functions = [f for f in draft.functions if f in ("max", "min") or _is_measure(column)] or [""]
    draft.functions = []
    draft.items.extend(item for f in functions if (item := Item(column, f)) not in draft.items)


def _extreme(draft: Draft, column: Column, mention: Mention) -> None:
    """A superlative before a column: a function of it where nothing else is asked, else an order."""
    cue = draft.superlative
    if cue is None:
        return
    plain = any(not item.function for item in draft.items)
    if draft.zone == "select" and not plain and cue.limit == 1 and not draft.tables:
        draft.functions.append("max" if cue.value == "desc" else "min")
        _select(draft, column, mention)
    elif cue.limit > 1 and not draft.items and not _is_measure(column):
        draft.top = cue.limit
        _select(draft, column, mention)
    else:
        function = draft.functions.pop() if draft.functions else ""
        draft.order.append((Item(column, function), cue.value == "desc"))
        draft.limit = max(cue.limit, draft.top)
    draft.superlative = None


def _group(draft: Draft, column: Column) -> None:
    draft.zone = "select"
    draft.led = draft.led or not (draft.items or draft.group)
    draft.grouped = draft.last[0] if draft.last is not None else 0
    if column not in draft.group:
        draft.group.append(column)


def _table(draft: Draft, table: Table, mention: Mention) -> None:
    if draft.zone == "group":
        draft.led = draft.led or not draft.items
        draft.each, draft.zone = table, "select"
    elif draft.number is not None and draft.operator is None and mention.start - draft.number[0] <= 2:
        pass
    elif draft.counting is not None and draft.zone == "select":
        draft.items.append(Item(None, "count"))
        draft.counting = None
    elif draft.negated is not None and (draft.items or draft.tables) and mention.start - draft.negated <= REACH:
        draft.excluded.append(table)
        return
    elif draft.frequent is not None:
        draft.rank_by(Item(None, "count"))
    elif draft.superlative is not None:
        _superlative_table(draft, table)
    elif draft.zone == "select" and mention.start > 0:
        count = number_of(draft.words[mention.start - 1]) or ""
        draft.top = int(count[:6]) if count.isdecimal() else draft.top
    draft.need(table.name)


def _superlative_table(draft: Draft, table: Table) -> None:
    cue = draft.superlative
    if cue is None:
        return
    word = draft.words[cue.end - 1].text.lower()
    near = (draft.schema.table(edge.right.table) for edge in edges(draft.schema).get(table.name, ()))
    found = (implied_column(one, word) for one in (table, *near) if one is not None)
    column = next((column for column in found if column is not None), None)
    draft.rank_by(Item(column) if column is not None else Item(None, "count"))
