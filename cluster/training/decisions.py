"""Decisions: each operation of an episode with all that it was chosen from, as rows that RLlib's offline API reads.

Columns are called as RLlib calls them (rllib.offline, `SCHEMA`): `eps_id`, `t`, `obs`, `actions`, `rewards`,
`terminateds`, `truncateds`; beside them `returns`, the reward from here to the end, and `database`. Features are half
floats, rows of `candidates` one after the other, so that a row holds as many as there were.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.policy.tier.candidates import candidates
from services.policy.tier.features import Vectors, candidate_features, clipped, state_features
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Operation
from services.policy.tier.state import after

SCHEMA = pa.schema(
    [
        ("eps_id", pa.string()),
        ("t", pa.int32()),
        ("database", pa.string()),
        ("obs", pa.struct([("candidates", pa.binary()), ("state", pa.binary())])),
        ("actions", pa.int32()),
        ("rewards", pa.float32()),
        ("returns", pa.float32()),
        ("terminateds", pa.bool_()),
        ("truncateds", pa.bool_()),
    ]
)
ROWS = 512
"""Decisions of one Parquet row group."""


@dataclass(frozen=True, slots=True)
class Played:
    """A query that was built in an episode, operation by operation, and what the episode earned."""

    episode_id: str
    database: str
    knowledge: Knowledge
    operations: Sequence[Operation]
    steps_left: int
    reward: float


def decisions(played: Played, most: int) -> Iterator[dict[str, object]]:
    """A row an operation, in order, up to the first that is not among the `most` candidates of its state."""
    state, last = State(), len(played.operations) - 1
    for number, operation in enumerate(played.operations):
        offered = candidates(state, played.knowledge)[:most]
        if operation not in offered:
            return
        yield {
            "eps_id": played.episode_id,
            "t": number,
            "database": played.database,
            "obs": {
                "candidates": _bytes(candidate_features(state, played.knowledge, offered)),
                "state": _bytes(state_features(state, played.knowledge, None, played.steps_left)),
            },
            "actions": offered.index(operation),
            "rewards": played.reward if number == last else 0.0,
            "returns": played.reward,
            "terminateds": number == last,
            "truncateds": False,
        }
        state = after(state, operation)


def write_decisions(rows: Iterable[dict[str, object]], path: Path) -> int:
    """Write the rows to a Parquet file that appears whole or not at all; how many there were."""
    partial, written, batch = path.with_suffix(".tmp"), 0, list[dict[str, object]]()
    with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for row in rows:
            batch.append(row)
            if len(batch) == ROWS:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                written, batch = written + len(batch), []
        writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
    partial.replace(path)
    return written + len(batch)


def _bytes(vectors: Vectors) -> bytes:
    return clipped(vectors).astype(np.float16).tobytes()
