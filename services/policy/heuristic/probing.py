"""The probe: one query that finds which text cells stand in the question."""

from collections.abc import Mapping, Sequence

from services.policy.heuristic.linking import Hit, gendered
from services.policy.heuristic.quoting import literal, name
from services.policy.heuristic.reading import Column, Outcome, Schema
from services.policy.heuristic.words import STOP, Word

_LONGEST = 6
_TEXTS = 120
_COLUMNS = 60


def probe(words: Sequence[Word], schema: Schema) -> str | None:
    """The query, or None where there is nothing to look for."""
    columns, texts = _text_columns(schema), _texts(words)
    if not columns or not texts:
        return None
    listed = ", ".join(map(literal, texts))
    parts = (
        f"SELECT {place} AS place, CAST({name(column.name)} AS VARCHAR) AS value FROM {name(column.table)}"
        for place, column in enumerate(columns)
    )
    return (
        f"SELECT DISTINCT place, value FROM ({' UNION ALL '.join(parts)}) WHERE lower(value) IN ({listed})"
        " ORDER BY length(value) DESC, place, value LIMIT 20"
    )


def read_hits(sql: str | None, schema: Schema, outcomes: Mapping[str, Outcome]) -> tuple[Hit, ...]:
    """The cells that the probe found."""
    columns = _text_columns(schema)
    outcome = outcomes.get(sql or "")
    found = []
    for row in outcome.rows if outcome else ():
        if len(row) == 2 and row[0] is not None and row[0].isdecimal() and int(row[0][:9]) < len(columns):
            found.append(Hit(columns[int(row[0][:9])], row[1] or ""))
    return tuple(found)


def _text_columns(schema: Schema) -> list[Column]:
    return [column for column in schema.columns() if not column.numeric][:_COLUMNS]


def _texts(words: Sequence[Word]) -> list[str]:
    """Every run of words that could be a cell, in lower case; the literals first."""
    texts: dict[str, None] = {}
    for word in words:
        if word.is_literal:
            texts |= dict.fromkeys((word.text.lower(), *word.text.lower().split()))
    for length in range(_LONGEST, 0, -1):
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            if _may_be_cell(run):
                texts[" ".join(word.text.lower().removesuffix("'s") for word in run)] = None
    for word in words:
        if word.kind == "word" and word.stem not in STOP:
            texts |= dict.fromkeys(text for text in (word.stem, gendered(word)) if text)
    return list(texts)[:_TEXTS]


def _may_be_cell(run: Sequence[Word]) -> bool:
    if any(word.kind == "mark" or word.is_literal for word in run):
        return False
    return run[0].stem not in STOP and run[-1].stem not in STOP
