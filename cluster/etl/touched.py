"""Which partitions of its output production's run changed, as predicates.

Invariant: read off production's own files before and after the run, by their content; nothing else enters.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

import duckdb

from cluster.etl.catalog import Found, partition_of
from cluster.etl.delta import PARTITIONED_BY
from services.contracts.errors import BadInput
from services.grader.etl.pinned import SETTINGS, quoted, relation, text

MOST_VALUES = 1000
Partition = tuple[tuple[str, str | None], ...]


def touched_by(before: Found, after: Found, contents: Mapping[str, str]) -> tuple[str, ...]:
    """A predicate for each partition whose files are not those from before; none if the table has no partitions.

    `contents` is what each file holds, by path. Each predicate is true or false, never NULL. Raises BadInput.
    """
    if before.keys != after.keys:
        name = after.table.name
        raise BadInput(f"{name} was partitioned by {before.keys} before the run and by {after.keys} after it")
    if not after.keys:
        return ()
    old, new = _by_partition(before, contents), _by_partition(after, contents)
    changed = [partition for partition in old.keys() | new.keys() if old.get(partition) != new.get(partition)]
    types = {column.name.lower(): column.type for column in after.table.columns}
    return tuple(_predicate(partition, types) for partition in sorted(changed, key=_order))


def bounded_by(columns: Sequence[str], before: Found, after: Found, contents: Mapping[str, str]) -> tuple[str, ...]:
    """The same for a table without partitions: a predicate for each set of values that the columns have in the rows of
    the files that production's run added or took away. Raises BadInput for columns that cannot bound anything.
    """
    names = _bounds(columns, after)
    old, new = (Counter(contents[file] for file in each.table.files) for each in (before, after))
    picks = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in names)
    rows: set[tuple[str | None, ...]] = set()
    with duckdb.connect(config={**SETTINGS, "memory_limit": "2GB"}) as connection:
        for each in (before, after):
            changed = tuple(file for file in each.table.files if old[contents[file]] != new[contents[file]])
            table = each.table.model_copy(update={"files": changed})
            found = connection.execute(f"SELECT DISTINCT {picks} FROM ({relation(table)}) LIMIT {MOST_VALUES + 1}")
            rows |= set(found.fetchall())
    if len(rows) > MOST_VALUES:
        raise BadInput(
            f"output.bounds: {', '.join(columns)} have more than {MOST_VALUES} values in what the run changed"
        )
    types = {column.name.lower(): column.type for column in after.table.columns}
    return tuple(_predicate(part, types) for part in sorted((_zip(names, row) for row in rows), key=_order))


def _zip(names: Sequence[str], row: Sequence[str | None]) -> Partition:
    return tuple(zip(names, row, strict=True))


def _bounds(columns: Sequence[str], after: Found) -> list[str]:
    known = {column.name.lower(): column for column in after.table.columns}
    for name in columns:
        if name.lower() not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadInput(f"output.bounds: {after.table.name} has no column {name}{hint}")
        if known[name.lower()].type not in PARTITIONED_BY:
            raise BadInput(
                f"output.bounds: {name} is {known[name.lower()].type}: days, texts and whole numbers can bound"
            )
    return [known[name.lower()].name for name in columns]


def _by_partition(found: Found, contents: Mapping[str, str]) -> dict[Partition, Counter[str]]:
    parts: dict[Partition, Counter[str]] = {}
    for file in found.table.files:
        parts.setdefault(partition_of(found, file), Counter())[contents[file]] += 1
    return parts


def _order(partition: Partition) -> list[tuple[bool, str]]:
    return [(value is not None, value or "") for _, value in partition]


def _predicate(partition: Partition, types: Mapping[str, str]) -> str:
    return " AND ".join(_equals(name, value, types[name.lower()]) for name, value in partition)


def _equals(name: str, value: str | None, kind: str) -> str:
    if value is None:
        return f"{quoted(name)} IS NULL"
    return f"{quoted(name)} IS NOT DISTINCT FROM CAST({text(value)} AS {kind})"
