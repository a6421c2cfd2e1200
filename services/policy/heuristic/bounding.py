"""Bounds: how numbers, cells and quoted texts of a question become conditions of its draft."""

import re

from services.policy.heuristic.cues import number_of
from services.policy.heuristic.draft import REACH, Draft
from services.policy.heuristic.intent import Condition, Having, Item
from services.policy.heuristic.linking import Mention
from services.policy.heuristic.naming import implied_column
from services.policy.heuristic.reading import Column
from services.policy.heuristic.words import Word, identifier_words

_OR = (Word("or", "or", "word"),)


def take_word(draft: Draft, position: int) -> None:
    """A literal, a number or a comma of the question."""
    word = draft.words[position]
    if word.is_literal or (draft.like and len(word.text) == 1 and word.text.isupper()):
        _literal(draft, word, position)
        return
    waited = draft.operator is not None or draft.words[position + 1 : position + 2] == _OR
    digits = number_of(word) if word.kind == "number" or waited else None
    if digits is not None:
        _number(draft, digits, position)
    elif word.text == "," and draft.zone == "group":
        draft.zone = "select"


def take_value(draft: Draft, mention: Mention) -> None:
    """A cell that the probe found becomes a condition on its column."""
    columns = [hit.column for hit in mention.hits]
    hit = mention.hits[0]
    if draft.last is not None and draft.last[1] in columns and mention.start - draft.last[0] <= REACH:
        hit = mention.hits[columns.index(draft.last[1])]
    negated = draft.negated is not None and mention.start - draft.negated <= REACH
    draft.conditions.append(Condition(hit.column, "!=" if negated else "=", (hit.value,)))
    draft.drop_dangling(hit.column, mention.start)
    draft.valued = mention.end


def _number(draft: Draft, digits: str, position: int) -> None:
    operator = _operator(draft, position)
    if operator == "between":
        _between(draft, draft.last[1] if draft.last is not None else None, digits)
        return
    if _counts_rows(draft, position) and operator:
        draft.having.append(Having(Item(None, "count"), operator, digits))
        draft.operator = None
        return
    near = draft.last is not None and position - draft.last[0] <= REACH
    if draft.last is not None and near and (draft.last[1].numeric or operator):
        bound(draft, draft.last[1], digits, position)
        return
    column = _implied(draft, digits, position)
    if column is not None:
        bound(draft, column, digits, position)
    else:
        draft.number = (position + 1, digits)


def _between(draft: Draft, column: Column | None, digits: str) -> None:
    """One end of a range; the second closes it."""
    draft.between.append(digits)
    if len(draft.between) > 1 and column is not None:
        draft.conditions.append(Condition(column, "between", tuple(draft.between[-2:])))
        draft.between, draft.operator = [], None


def _operator(draft: Draft, position: int) -> str:
    """The comparison that holds for the number there."""
    after = " ".join(word.text.lower() for word in draft.words[position + 1 : position + 4])
    if re.match(r"or (?:more|above|greater|higher|later|after|older|over)\b(?! than)", after):
        draft.operator = (position, ">=")
    elif re.match(r"or (?:less|fewer|below|lower|earlier|before|younger|under)\b(?! than)", after):
        draft.operator = (position, "<=")
    return draft.operator[1] if draft.operator is not None else ""


def _counts_rows(draft: Draft, position: int) -> bool:
    """Whether a table or a plain thing, rather than a measured column, follows the number."""
    if draft.words[position].stem in ("once", "twice"):
        return True
    following = draft.words[position + 1 : position + 4]
    names = {identifier_words(table.name)[-1:] for table in draft.schema.tables}
    return any((word.stem,) in names for word in following) or any(word.stem == "time" for word in following[:1])


def _implied(draft: Draft, digits: str, position: int) -> Column | None:
    """The column that a bare number or the comparison's own word speaks of."""
    before = {word.text.lower() for word in draft.words[max(0, position - 3) : position + 3]}
    for table in draft.tables or draft.schema.tables:
        for word in sorted(before):
            column = implied_column(table, word)
            if column is not None:
                return column
    if len(digits) == 4 and digits[:2] in ("17", "18", "19", "20"):
        tables = [*draft.tables, *draft.schema.tables]
        years = (c for table in tables for c in table.columns if "year" in identifier_words(c.name))
        return next(years, None)
    return None


def bound(draft: Draft, column: Column, digits: str, position: int) -> None:
    """A number bounds a column, or an aggregate of it after HAVING."""
    operator = draft.operator[1] if draft.operator is not None else "="
    if operator == "between":
        _between(draft, column, digits)
        return
    if operator == "=" and draft.negated is not None:
        operator = "!="
    if draft.functions and draft.zone == "where":
        draft.having.append(Having(Item(column, draft.functions.pop()), operator, digits))
    else:
        draft.conditions.append(Condition(column, operator, (digits,)))
        draft.drop_dangling(column, position)
    draft.last = (max(position, draft.last[0] if draft.last else 0), column)
    draft.operator = None


def compare_with_average(draft: Draft, column: Column) -> None:
    """The column is compared with its own average."""
    if draft.operator is not None:
        draft.conditions.append(Condition(column, draft.operator[1], (), "avg"))
    draft.operator = None
    draft.functions = []


def _literal(draft: Draft, word: Word, position: int) -> None:
    """A quoted text that is no cell: part of one, in the column just named, or a date."""
    column = draft.last[1] if draft.last is not None else None
    if column is not None and word.kind == "date":
        bound(draft, column, word.text, position)
        return
    pattern = {"starts": f"{word.text}%", "ends": f"%{word.text}"}.get(draft.like, f"%{word.text}%")
    operator = "like" if draft.negated is None else "not like"
    follows = draft.words[position + 1 : position + 2]
    if column is None or (follows and follows[0].stem == "in"):
        draft.pattern = (position, operator, pattern)
        return
    draft.conditions.append(Condition(column, operator, (pattern,)))
    draft.drop_dangling(column, position)
