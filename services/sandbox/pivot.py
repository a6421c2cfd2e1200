"""PIVOT without a list of values: the engine's parser shows its syntax tree only once each column has a list.

Invariant: a marked statement is the statement with ` IN name` put in and nothing else, and the engine's own tree shows
each name as the list of one pivot column. So whatever the statement holds, the marked one's tree holds.
"""

import re
from collections.abc import Iterator
from typing import Any

import duckdb

MARK = "__pivot_values_"
MAX_COLUMNS = 16
"""Of one statement without a list of values: the engine asks for the values of each before it begins."""
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_PIVOTS = frozenset({"pivot", "pivot_wider"})
_AFTER_COLUMNS = frozenset({"using", "group", "order", "limit", "offset", "union", "except", "intersect", ";"})
_ENGINE_NAME = re.compile(r"__pivot_enum_[0-9a-f-]{36}")

Token = tuple[int, str, int]
"""Byte offset, text in lower case, and how many brackets are open before it."""


def mentions_pivot(sql: str) -> bool:
    """Whether it may pay to look for a PIVOT."""
    return "pivot" in sql.lower()


def marked(sql: str) -> tuple[str, int]:
    """The statement with a named list behind each pivot column that has none, and how many names that took."""
    text, tokens = sql.encode(), list(_tokens(sql))
    places = sorted({place for at, token in enumerate(tokens) if token[1] in _PIVOTS for place in _places(tokens, at)})
    for number, place in reversed(list(enumerate(places))):
        offset = tokens[place][0] if place < len(tokens) else len(text)
        text = text[:offset] + f"\n IN {MARK}{number} ".encode() + text[offset:]
    return text.decode(), len(places)


def is_faithful(sources: list[dict[str, Any]], count: int) -> bool:
    """Whether the tree's sources of type PIVOT hold each of so many names once, as the list of one pivot column."""
    lists = [str(column.get("pivot_enum", "")) for source in sources for column in source.get("pivots", ())]
    named = sorted(name for name in lists if name.startswith(MARK))
    return 0 < count <= MAX_COLUMNS and named == sorted(f"{MARK}{number}" for number in range(count))


def expands_to(connection: duckdb.DuckDBPyConnection, sql: str, count: int) -> bool:
    """Whether the engine makes so many lists of values from the statement itself, then runs one SELECT."""
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    return kinds == [duckdb.StatementType.CREATE] * count + [duckdb.StatementType.SELECT]


def without_engine_names(text: str) -> str:
    """The text without the engine's names of its lists, which differ from run to run."""
    return _ENGINE_NAME.sub("values", text)


def _tokens(sql: str) -> Iterator[Token]:
    """The engine's own tokens; comments are none."""
    text, depth = sql.encode(), 0
    offsets = [offset for offset, _ in duckdb.tokenize(sql)]
    for start, end in zip(offsets, [*offsets[1:], len(text)], strict=True):
        words = text[start:end].decode(errors="replace").lower().split()
        word = words[0] if words else ""
        word = word[0] if word[:1] in _OPENING | _CLOSING | {";", ","} else word
        depth -= word in _CLOSING
        yield start, word, depth
        depth += word in _OPENING


def _places(tokens: list[Token], pivot: int) -> Iterator[int]:
    """The tokens before which the columns of the PIVOT end that have no list; the engine has the last word on them."""
    depth = tokens[pivot][2]
    at = start = 0
    for at in range(pivot + 1, len(tokens) + 1):
        word, inside = tokens[at][1:] if at < len(tokens) else ("", depth)
        over = at == len(tokens) or inside < depth or (start and inside == depth and word in _AFTER_COLUMNS)
        if inside == depth and word == "on":
            start = at
        elif start and (over or (inside == depth and word == ",")):
            if not any(token[1] == "in" and token[2] == depth for token in tokens[start:at]):
                yield at
            start = at
        if over:
            return
