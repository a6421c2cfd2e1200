"""Results as the agent reads them: CSV with a header, NULL apart from empty text, never longer than the caps."""

from collections.abc import Sequence

from cachetools import LRUCache, cached

from services.contracts.cells import cell_text
from services.contracts.statements import Cell, ResultTable

ROWS_SHOWN = 20
CELL_CHARACTERS = 500
TEXTS_KEPT = 16_000_000
"""Characters of shown results kept for those who ask the same."""
_QUOTED = frozenset(',"\n\r')


def csv_field(cell: Cell) -> str:
    """One CSV field: quoted where it must be, where it is empty, and where text would read as NULL."""
    text = cell_text(cell)
    if len(text) > CELL_CHARACTERS:
        text = f"{text[:CELL_CHARACTERS]}… ({len(text)} characters)"
    if isinstance(cell, str) and (text in ("", "NULL") or text != text.strip()):
        return '"' + text.replace('"', '""') + '"'
    return '"' + text.replace('"', '""') + '"' if not _QUOTED.isdisjoint(text) else text


def csv_lines(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Header and rows as CSV."""
    lines = [",".join(csv_field(column) for column in columns)]
    lines.extend(",".join(map(csv_field, row)) for row in rows)
    return "\n".join(lines)


@cached(LRUCache(TEXTS_KEPT, getsizeof=len), key=lambda result: result.digest)
def result_text(result: ResultTable) -> str:
    """The first 20 rows (sqlenv-v1-spec §2.4), and how many there are."""
    text = csv_lines(result.columns, result.rows[:ROWS_SHOWN])
    count = len(result.rows)
    if result.truncated:
        return f"{text}\n(first {min(ROWS_SHOWN, count)} of more than {count} rows)"
    if count > ROWS_SHOWN:
        return f"{text}\n(first {ROWS_SHOWN} of {count} rows)"
    return f"{text}\n(no rows)" if count == 0 else text
