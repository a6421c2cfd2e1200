"""The keys of a database as they are stated for it: what every variant of it has to keep."""

from services.contracts.record import Record


class ForeignKey(Record):
    """Columns whose values are found in other columns, NULL aside."""

    columns: tuple[str, ...]
    table: str
    other: tuple[str, ...]


class TableKeys(Record):
    """What is stated of one table. A statement that its own rows break is not enforced."""

    table: str
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    not_null: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
