"""Which partitions of its output production's run changed, as predicates.

Invariant: read off production's own files before and after the run, by their content; nothing else enters.
"""

from collections import Counter
from collections.abc import Mapping

from cluster.etl.catalog import Found, partition_of
from services.contracts.errors import BadInput
from services.grader.etl.pinned import quoted, text

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
