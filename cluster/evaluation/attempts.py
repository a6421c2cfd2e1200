"""The stored episodes of a run as flat records: what an evaluation looks at, without the steps themselves."""

from collections.abc import Sequence
from typing import cast

import duckdb
from pydantic import Field

from cluster.run import RunFolder
from services.contracts.errors import BadInput
from services.contracts.grading import ALL_COMPONENTS, COMPONENTS_OF, Verdict
from services.contracts.record import Record
from services.contracts.tasks import Difficulty, Environment

TOKENS = ("prompt_tokens", "completion_tokens")
_ATTEMPTS = """
SELECT episode_id, task_id, sample_index, policy, environment, database, difficulty, verdict, reward, {components},
       step_count, truncation, fault_kind, timings.wall_ms,
       list_sum(timings.policy_ms) AS policy_ms, list_sum(timings.sandbox_ms) AS sandbox_ms,
       {tokens},
       len(list_filter(steps, lambda step: step.outcome = 'forbidden')) + (verdict = 'violation')::INT AS violations
FROM read_parquet($files, union_by_name = true) ORDER BY policy, task_id, sample_index
"""


class Attempt(Record):
    """One stored episode. `violations` counts statements that the guard refused; times are wall milliseconds."""

    episode_id: str
    task_id: str
    sample_index: int
    policy: str
    environment: Environment
    database: str
    difficulty: Difficulty
    verdict: Verdict
    reward: float | None
    components: tuple[float, ...] = Field(description="those of the environment, in its order")
    step_count: int
    truncation: str | None
    fault_kind: str | None
    wall_ms: float
    policy_ms: float
    sandbox_ms: float
    violations: int
    prompt_tokens: int | None = Field(default=None, description="None: the policy counts none")
    completion_tokens: int | None = None

    @property
    def graded(self) -> bool:
        """Whether the episode was judged; a faulted one never is."""
        return self.reward is not None

    @property
    def success(self) -> float:
        """1.0 for a right answer, else 0.0. Means nothing for an episode that was not graded."""
        return float(self.verdict == "correct")


def read_attempts(run: RunFolder) -> tuple[Attempt, ...]:
    """Every stored episode, by policy, task and sample. Raises BadInput if there is none, or a file is damaged."""
    files = [str(path) for path in run.files()]
    if not files:
        raise BadInput(f"{run.path} holds no trajectories yet")
    with duckdb.connect() as connection:
        try:
            there = connection.read_parquet(files, union_by_name=True)  # older files lack some
            components = ", ".join(name for name in ALL_COMPONENTS if name in there.columns)
            kept = str(there.types[there.columns.index("timings")])
            tokens = ", ".join(f"{_sum(name) if name in kept else 'NULL'} AS {name}" for name in TOKENS)
            cursor = connection.execute(_ATTEMPTS.format(components=components, tokens=tokens), {"files": files})
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
        except duckdb.Error as error:
            raise BadInput(f"{run.path}: {str(error).splitlines()[0]}") from error
    return tuple(_attempt(dict(zip(names, row, strict=True))) for row in rows)


def _sum(name: str) -> str:
    return f"list_sum(timings.{name})::BIGINT"


def of_policy(attempts: Sequence[Attempt], policy: str) -> list[Attempt]:
    """The attempts of one policy, in order."""
    return [attempt for attempt in attempts if attempt.policy == policy]


def policies_of(attempts: Sequence[Attempt]) -> list[str]:
    """The policies that played, each once, by name."""
    return sorted({attempt.policy for attempt in attempts})


def _attempt(row: dict[str, object]) -> Attempt:
    earned = {name: row.pop(name, None) or 0.0 for name in ALL_COMPONENTS}
    components = tuple(earned[name] for name in COMPONENTS_OF[cast(Environment, row["environment"])])
    times = {name: row[name] or 0.0 for name in ("policy_ms", "sandbox_ms")}
    return Attempt.model_validate({**row, **times, "components": components})
