"""When each version of a Delta table was committed, and which version a time means.

Invariant: a time is looked up once, in the commits' own timestamps, and is a version from then on; the later of two
times never means the earlier version. File times are not looked at: a copy or a checkout resets them.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.contracts.errors import BadInput
from services.contracts.record import Record

_COMMIT = re.compile(r"\d{20}\.json")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Commit(Record):
    """One version: milliseconds since 1970 as its commit says them, and the job that made it, if that is said."""

    version: int
    at_ms: int
    job_id: str | None = None


def parse_time(text: str, what: str) -> datetime:
    """A time from ISO 8601 with its zone. Raises BadInput."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{what}: {text!r} is no time: write it like 2026-01-31T03:00:00+00:00") from error
    if found.tzinfo is None:
        raise BadInput(f"{what}: {text} has no time zone: write it like {found.isoformat()}+00:00")
    return found


def milliseconds(time: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (time - EPOCH) // timedelta(milliseconds=1)


def written_out(at_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    return (EPOCH + timedelta(milliseconds=at_ms)).isoformat()


def commits_of(table: Path, name: str) -> tuple[Commit, ...]:
    """The commits that the log still has, the earliest first. Raises BadInput where one does not say its time.

    delta-rs's `history()` is not asked: it counts versions off by one for each commit without a commitInfo.
    """
    found = {int(file.stem): file for file in (table / "_delta_log").glob("*.json") if _COMMIT.fullmatch(file.name)}
    if not found:
        raise BadInput(f"{name}: the Delta log of {table} has no commits")
    first = last = max(found)
    while first - 1 in found:
        first -= 1
    return tuple(in_order([_commit(version, found[version], name) for version in range(first, last + 1)]))


def _commit(version: int, file: Path, name: str) -> Commit:
    info = _info(file, name)
    at_ms = info.get("inCommitTimestamp", info.get("timestamp"))
    if not isinstance(at_ms, int):
        raise BadInput(f"{name}: version {version} does not say when it was committed: give the version to be read")
    job = info.get("job")
    job_id = job.get("jobId") if isinstance(job, dict) else None
    return Commit(version=version, at_ms=at_ms, job_id=None if job_id is None else str(job_id))


def _info(file: Path, name: str) -> dict[str, Any]:
    """What a commit says of itself; nothing if it does not."""
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if '"commitInfo"' in line]
        entries = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: the commit {file} cannot be read: {error}") from error
    found = [entry["commitInfo"] for entry in entries if isinstance(entry, dict) and "commitInfo" in entry]
    return found[0] if found and isinstance(found[0], dict) else {}


def in_order(commits: Sequence[Commit]) -> Iterator[Commit]:
    """The commits with times that grow: clocks of several writers may not agree (Delta protocol, commit timestamps)."""
    last: int | None = None
    for commit in commits:
        at_ms = commit.at_ms if last is None else max(commit.at_ms, last + 1)
        last = at_ms
        yield commit.model_copy(update={"at_ms": at_ms})


def version_at(commits: Sequence[Commit], time: datetime, name: str) -> Commit:
    """The last commit at or before a time. Raises BadInput for a time without a zone or before the first commit."""
    if time.tzinfo is None:
        raise BadInput(f"{name}: {time.isoformat()} has no time zone")
    place = bisect_right(commits, milliseconds(time), key=lambda commit: commit.at_ms)
    if not commits or place == 0:
        first = f"version {commits[0].version} of {written_out(commits[0].at_ms)}" if commits else "nothing"
        raise BadInput(f"{name}: at {time.isoformat()} there was no version yet; the log begins with {first}")
    return commits[place - 1]
