"""Splits CREATE … AS and INSERT into their frame and their query, by tokens, so that only the engine reads the query.

Invariant: the frame is the text with a query of one constant in the query's place; other statements are all frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from services.sandbox.guard import MAX_CHARACTERS

_QUERY_STARTS = frozenset({"SELECT", "WITH", "FROM", "VALUES", "(", "PIVOT", "UNPIVOT"})
_NO_QUERY = "SELECT 1"


class Refusal(Exception):
    """Why a statement must not run; `reason` is one of syntax, forbidden, too_long, unknown."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Parts:
    """A statement's frame, with a constant query in it, and the text of its own query; empty if it has none."""

    frame: str
    body: str = ""


def split(sql: str) -> Parts:
    """The parts of a statement. Raises Refusal for what is too long or cannot be cut into tokens."""
    if len(sql) > MAX_CHARACTERS:
        raise Refusal("too_long", f"the statement is longer than {MAX_CHARACTERS} characters")
    try:
        tokens = list(sqlglot.tokenize(sql, read="duckdb"))
    except SqlglotError as error:
        raise Refusal("syntax", str(error).split("\n")[0][:300]) from error
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    first = tokens[0].text.upper() if tokens else ""
    start = {"CREATE": _behind_as, "INSERT": _behind_columns}.get(first, lambda _: None)(tokens)
    if start is None:
        return Parts(sql)
    return Parts(f"{sql[:start]} {_NO_QUERY}", sql[start : tokens[-1].end + 1])


def _behind_as(tokens: Sequence[Token]) -> int | None:
    """Where the query of a CREATE begins: behind the first AS that no bracket holds."""
    depth = 0
    for token in tokens:
        depth += _step(token)
        if depth == 0 and token.token_type == TokenType.ALIAS:
            return token.end + 1
    return None


def _behind_columns(tokens: Sequence[Token]) -> int | None:
    """Where the query of an INSERT begins: behind its table, and its list of columns if there is one."""
    depth = 0
    for place, token in enumerate(tokens):
        if depth == 0 and place > 1 and _starts_query(tokens, place):
            return token.start
        depth += _step(token)
    return None


def _starts_query(tokens: Sequence[Token], place: int) -> bool:
    token = tokens[place]
    if token.token_type in (TokenType.IDENTIFIER, TokenType.STRING) or token.text.upper() not in _QUERY_STARTS:
        return False
    behind = tokens[place + 1].text.upper() if place + 1 < len(tokens) else ""
    return token.token_type != TokenType.L_PAREN or behind in _QUERY_STARTS


def _step(token: Token) -> int:
    return (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
