"""Rows of a table as text, for people: what is shown of a row, never what is compared."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from services.grader.tables.source import Source

MAX_SHOWN = 200
Row = tuple[str | None, ...]


def fetch(source: Source, names: Sequence[str], places: npt.NDArray[np.int64]) -> dict[int, Row]:
    """The rows at some places of a table, by place. Raises BadInput, Infrastructure."""
    wanted = np.unique(places)
    found: dict[int, Row] = {}
    low = 0
    for batch in source.batches(names):
        if len(found) == len(wanted):
            break
        here = wanted[(wanted >= low) & (wanted < low + batch.num_rows)]
        if len(here):
            some = batch.take(pa.array(here - low))
            columns = [[text_of(value) for value in column] for column in some.columns]
            found.update(zip(here.tolist(), zip(*columns, strict=True), strict=True))
        low += batch.num_rows
    return found


def text_of(value: Any) -> str | None:
    """A value as text, whole; None for NULL."""
    if isinstance(value, pa.ExtensionScalar | pa.DictionaryScalar):
        value = value.as_py() if isinstance(value, pa.DictionaryScalar) else value.value
        return value if value is None or isinstance(value, str) else text_of(pa.scalar(value))
    if not value.is_valid:
        return None
    kind = value.type
    if pt.is_floating(kind):
        return repr(float(value.as_py()) + 0.0)
    if pt.is_timestamp(kind) and kind.tz is not None:
        return f"{_cast_text(value.cast(pa.timestamp(kind.unit)))}Z"
    if pt.is_nested(kind):
        return _nested_text(value)
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind) or pt.is_binary_view(kind):
        return f"0x{value.as_buffer().to_pybytes().hex()}"
    return _cast_text(value)


def _cast_text(value: Any) -> str:
    try:
        return str(value.cast(pa.string()).as_py())
    except pa.ArrowException:  # a type that Arrow has no words for, such as INTERVAL
        return str(value)


def _nested_text(value: Any) -> str:
    if isinstance(value, pa.StructScalar):
        return "{" + ", ".join(f"{name}: {_inner(part)}" for name, part in value.items()) + "}"
    if isinstance(value, pa.MapScalar):
        pairs = (f"{_inner(pair['key'])}: {_inner(pair['value'])}" for pair in value.values)
        return "{" + ", ".join(pairs) + "}"
    return "[" + ", ".join(map(_inner, value.values)) + "]"


def _inner(value: Any) -> str:
    text = text_of(value)
    return "NULL" if text is None else repr(text) if isinstance(value, pa.StringScalar) else text


def shown(text: str | None, other: str | None) -> str | None:
    """A long text cut down to the part where it begins to differ from the other."""
    if text is None or len(text) <= MAX_SHOWN:
        return text
    other = other or ""
    same = next((at for at, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    low = max(0, min(same - MAX_SHOWN // 4, len(text) - MAX_SHOWN))
    high = low + MAX_SHOWN
    return f"{'…' if low else ''}{text[low:high]}{'…' if high < len(text) else ''} ({len(text)} characters)"
