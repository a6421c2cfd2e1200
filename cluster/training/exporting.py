"""Exporting: the episodes of run folders as decisions for RLlib, operation by operation.

An episode counts by the statement that it answered with: one that carries its operations, or raw SQL that can be said
in them. What was known is read from what the agent had seen by then; nothing of the gold is.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray

from cluster.regrade import stored_rows
from cluster.run import RunFolder
from cluster.training.decisions import Played, decisions, write_decisions
from cluster.turns import Turns
from services.contracts.actions import Query
from services.contracts.errors import BadInput
from services.contracts.policy import Turn
from services.contracts.record import Record
from services.policy.heuristic.reading import read_schema
from services.policy.tier.knowledge import knowledge_of
from services.policy.tier.operations import Operations, Submit, bare, read_operations
from services.policy.tier.translating import Untranslatable, translate

EPISODES = 200
"""Episodes of one Parquet file."""


class Exported(Record):
    """How much was written."""

    episodes: int
    decisions: int
    skipped: int
    files: int


def export(runs: Sequence[Path], out: Path, most: int, seed: int, tasks: Collection[str] | None = None) -> Exported:
    """Write the decisions of whole runs into a new folder, shuffled by the seed. Raises BadInput."""
    found = [played for run in runs for played in read_played(RunFolder.open(run), tasks)]
    known = [played for played in found if played is not None]
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise BadInput(f"cannot write the new folder {out}: {error.strerror}") from error
    random.Random(f"export/{seed}").shuffle(known)
    parts = [known[start : start + EPISODES] for start in range(0, len(known), EPISODES)]
    write = ray.remote(_write).options(num_cpus=1)
    names = [out / f"part-{number:04d}.parquet" for number in range(len(parts))]
    written: list[int] = ray.get([write.remote(*part, most) for part in zip(parts, names, strict=True)])
    return Exported(episodes=len(known), decisions=sum(written), skipped=len(found) - len(known), files=len(parts))


def read_played(run: RunFolder, tasks: Collection[str] | None = None) -> Iterator[Played | None]:
    """What each graded episode built; None for one that built nothing that operations can say."""
    turns = Turns(run)
    for row in stored_rows(run):
        if row["reward"] is not None and (tasks is None or row["task_id"] in tasks):
            yield _played(row, turns.last(row))


def _played(row: dict[str, Any], turn: Any) -> Played | None:
    if not isinstance(turn, Turn):
        return None
    for number in range(len(turn.history) - 1, -1, -1):
        action = turn.history[number].action
        before = turn.model_copy(update={"history": turn.history[:number]})
        operations = _said(action.sql, before) if isinstance(action, Query) else None
        if operations:
            start = _first(turn, number)
            return Played(
                episode_id=row["episode_id"],
                database=row["database"],
                knowledge=knowledge_of(start),
                operations=operations,
                steps_left=start.observation.budget_remaining,
                reward=float(row["reward"]),
            )
    return None


def _said(sql: str, before: Turn) -> Operations | None:
    """The operations of a statement, a submission at the end."""
    operations = read_operations(sql)
    if operations is None:
        try:
            operations = translate(bare(sql), read_schema(before.history))
        except Untranslatable:
            return None
    return operations if operations and isinstance(operations[-1], Submit) else None


def _first(turn: Turn, number: int) -> Turn:
    """The turn of the first statement that carries operations, or of statement `number`."""
    carrying = (
        place
        for place, exchange in enumerate(turn.history)
        if isinstance(exchange.action, Query) and read_operations(exchange.action.sql) is not None
    )
    return turn.model_copy(update={"history": turn.history[: next(carrying, number)]})


def _write(part: Sequence[Played], path: Path, most: int) -> int:
    """The decisions of some episodes, in an order of chance."""
    rows = [row for played in part for row in decisions(played, most)]
    random.Random(path.name).shuffle(rows)
    return write_decisions(rows, path)
