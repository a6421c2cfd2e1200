"""Exporting: the episodes of run folders as decisions for RLlib, operation by operation.

An episode counts by the statement that it answered with, or by the latest where none shows the answer as it was given:
one that carries its operations, or raw SQL that can be said in them. What was known is read from what the agent had
seen by then; nothing of the gold is.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray

from cluster.regrade import stored_rows
from cluster.run import RunFolder
from cluster.training.decisions import Played, decisions, write_decisions
from cluster.turns import Turns, before_operations
from services.contracts.actions import Query
from services.contracts.errors import BadInput
from services.contracts.policy import AnyTurn, Turn
from services.contracts.record import Record
from services.policy.heuristic.reading import read_schema
from services.policy.tier import state as states
from services.policy.tier.knowledge import knowledge_of
from services.policy.tier.operations import Operations, Submit, bare, read_operations
from services.policy.tier.playing import action_of
from services.policy.tier.translating import Untranslatable, translate

EPISODES = 200
"""Episodes of one Parquet file."""


class Exported(Record):
    """How much was written."""

    episodes: int
    decisions: int
    skipped: int
    files: int


def export(
    runs: Sequence[RunFolder], out: Path, most: int, seed: int, tasks: Collection[str] | None = None
) -> Exported:
    """Write the decisions of whole runs into a new folder, shuffled by the seed. Raises BadInput."""
    found = [played for run in runs for played in read_played(run, tasks)]
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
            yield played_of(row, turns.last(row))


def played_of(row: dict[str, Any], turn: AnyTurn) -> Played | None:
    """What a stored episode, as its agent saw it, has built; None if operations cannot say any of it."""
    if not isinstance(turn, Turn):
        return None
    found = list(_statements(turn))
    if not found:
        return None
    number, operations = next((one for one in found if _is_answered(turn, one[1])), found[0])
    start = before_operations(turn, number)
    return Played(
        episode_id=row["episode_id"],
        database=row["database"],
        knowledge=knowledge_of(start),
        operations=operations,
        steps_left=start.observation.budget_remaining,
        reward=float(row["reward"]),
    )


def _statements(turn: Turn) -> Iterator[tuple[int, Operations]]:
    """The statements that operations can say, and where each stands; the latest first."""
    for number in range(len(turn.history) - 1, -1, -1):
        action = turn.history[number].action
        before = turn.model_copy(update={"history": turn.history[:number]})
        operations = _said(action.sql, before) if isinstance(action, Query) else None
        if operations:
            yield number, operations


def _is_answered(turn: Turn, operations: Operations) -> bool:
    """Whether the episode's answer is what these operations show: a policy may have tried others after them."""
    before, schema = turn.model_copy(update={"history": turn.history[:-1]}), read_schema(turn.history)
    try:
        return action_of(before, states.run(operations, schema), schema) == turn.history[-1].action
    except states.IllegalOperation:
        return False


def _said(sql: str, before: Turn) -> Operations | None:
    """The operations of a statement, a submission at the end."""
    operations = read_operations(sql)
    if operations is None:
        try:
            operations = translate(bare(sql), read_schema(before.history))
        except Untranslatable:
            return None
    return operations if operations and isinstance(operations[-1], Submit) else None


def _write(part: Sequence[Played], path: Path, most: int) -> int:
    """The decisions of some episodes, in an order of chance."""
    rows = [row for played in part for row in decisions(played, most)]
    random.Random(path.name).shuffle(rows)
    return write_decisions(rows, path)
