"""What the first page of a result looks like, as numbers."""

import math
from collections import Counter
from collections.abc import Sequence

from services.policy.heuristic.paging import PAGE
from services.policy.heuristic.reading import Outcome

RESULT = (
    "failed", "empty", "one row", "one cell", "rows", "beyond a page", "columns", "null share", "number share",
    "zero", "duplicate share", "constant share", "null column",
)  # fmt: skip
_Rows = Sequence[tuple[str | None, ...]]


def result_numbers(outcome: Outcome) -> tuple[float, ...]:
    """The numbers of RESULT: rows are log(1 + n) / 8, columns over 8, shares of cells, rows and columns."""
    rows = outcome.rows
    cells = [cell for row in rows for cell in row]
    columns = list(zip(*rows, strict=False))
    numbers = [_number(cell) for cell in cells]
    known = [number for number in numbers if number is not None]
    return (
        bool(outcome.error), not rows and not outcome.error, outcome.total == 1, outcome.total == 1 == len(cells),
        math.log1p(outcome.total) / 8, outcome.total > PAGE, len(columns) / 8,
        _share(sum(cell is None for cell in cells), len(cells)), _share(len(known), len(cells)),
        bool(known) and not any(known), _share(len(rows) - len(set(rows)), len(rows)),
        _share(sum(len(set(column)) == 1 for column in columns), len(columns)) if len(rows) > 1 else 0.0,
        any(not any(cell is not None for cell in column) for column in columns),
    )  # fmt: skip


def same_rows(one: Outcome, other: Outcome) -> bool:
    """Whether both ran and showed the same rows, in whatever order."""
    ran = not one.error and not other.error
    return ran and one.total == other.total and Counter(one.rows) == Counter(other.rows)


def _number(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
