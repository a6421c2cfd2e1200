"""The type gate: columns by name, order and type. A type's name stands for its values, not for their packing."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from services.contracts.errors import BadInput
from services.contracts.record import Record

MAX_LEVELS = 32
FLOATS = ("FLOAT", "DOUBLE")
_PLAIN = (
    (pt.is_null, "NULL"), (pt.is_boolean, "BOOLEAN"), (pt.is_int8, "TINYINT"), (pt.is_int16, "SMALLINT"),
    (pt.is_int32, "INTEGER"), (pt.is_int64, "BIGINT"), (pt.is_uint8, "UTINYINT"), (pt.is_uint16, "USMALLINT"),
    (pt.is_uint32, "UINTEGER"), (pt.is_uint64, "UBIGINT"), (pt.is_float16, "HALF"), (pt.is_float32, "FLOAT"),
    (pt.is_float64, "DOUBLE"), (pt.is_string, "VARCHAR"), (pt.is_large_string, "VARCHAR"),
    (pt.is_string_view, "VARCHAR"), (pt.is_binary, "BLOB"), (pt.is_large_binary, "BLOB"), (pt.is_binary_view, "BLOB"),
    (pt.is_date32, "DATE"), (pt.is_interval, "INTERVAL"),
)  # fmt: skip


class Column(Record):
    """A column as it is compared."""

    name: str
    type: str


class SchemaDifference(Record):
    """What one side has at a place or under a name, and the other has not."""

    column: str
    left: str | None
    right: str | None


def columns_of(schema: pa.Schema, source: str) -> tuple[Column, ...]:
    """The columns of a table. Raises BadInput for a name that comes twice and for a type that cannot be compared."""
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise BadInput(f"{source} has more than one column named {twice[0]}")
    return tuple(Column(name=field.name, type=_type_in(field, source)) for field in schema)


def _type_in(field: Any, source: str) -> str:
    try:
        return type_name(field.type)
    except BadInput as error:
        raise BadInput(f"column {field.name} of {source}: {error}; leave it out with --ignore") from error


def type_name(kind: Any, levels: int = MAX_LEVELS) -> str:
    """The name of an Arrow type: with the unit of a time and whether it has a zone, but not with the zone's name."""
    if levels == 0:
        raise BadInput(f"types nested deeper than {MAX_LEVELS} levels are not compared")
    for test, name in _PLAIN:
        if test(kind):
            return name
    return _timed(kind) or _sized(kind) or _nested(kind, levels - 1)


def _timed(kind: Any) -> str | None:
    if pt.is_timestamp(kind):
        return f"TIMESTAMP{'' if kind.tz is None else 'TZ'}({kind.unit})"
    if pt.is_time(kind):
        return f"TIME({kind.unit})"
    if pt.is_duration(kind):
        return f"DURATION({kind.unit})"
    return "DATE(ms)" if pt.is_date64(kind) else None


def _sized(kind: Any) -> str | None:
    if pt.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return f"BLOB({kind.byte_width})" if pt.is_fixed_size_binary(kind) else None


def _nested(kind: Any, levels: int) -> str:
    if pt.is_dictionary(kind):
        return type_name(kind.value_type, levels)
    if pt.is_fixed_size_list(kind):
        return f"{type_name(kind.value_type, levels)}[{kind.list_size}]"
    if pt.is_map(kind):
        return f"MAP({type_name(kind.key_type, levels)}, {type_name(kind.item_type, levels)})"
    if pt.is_struct(kind):
        fields = (f"{_quoted(field.name)} {type_name(field.type, levels)}" for field in kind)
        return f"STRUCT({', '.join(fields)})"
    if pt.is_list(kind) or pt.is_large_list(kind):
        return f"{type_name(kind.value_type, levels)}[]"
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(kind, levels)
    raise BadInput(f"the type {kind} cannot be compared")


def _extension(kind: Any, levels: int) -> str:
    if isinstance(kind, pa.OpaqueType):
        return str(kind.type_name).upper()
    return f"{kind.extension_name.removeprefix('arrow.').upper()}({type_name(kind.storage_type, levels)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def schema_differences(left: Sequence[Column], right: Sequence[Column]) -> tuple[SchemaDifference, ...]:
    """Columns that are missing, extra, of another type or, if there are no such, at another place."""
    ours, theirs = ({column.name: column.type for column in side} for side in (left, right))
    found = [
        SchemaDifference(column=name, left=ours.get(name), right=theirs.get(name))
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if found:
        return tuple(found)
    pairs = enumerate(zip(left, right, strict=True), 1)
    return tuple(
        SchemaDifference(column=f"column {place}", left=mine.name, right=other.name)
        for place, (mine, other) in pairs
        if mine.name != other.name
    )
