"""One trajectory as one Parquet row, and back. docs/trajectories.md tells what each field means.

Rule: a new nullable column raises the minor version; a changed or removed one raises the major version, and readers
refuse a major version that they do not know.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import TypeAdapter

from services.contracts.actions import Action, Malformed, SQLAction, argument_of
from services.contracts.errors import BadInput
from services.contracts.grading import (
    ALL_COMPONENTS,
    ANALYST_COMPONENTS,
    COMPONENTS,
    COMPONENTS_OF,
    AnalystComponents,
    RewardComponents,
    Verification,
)
from services.contracts.statements import ResultTable, StatementOutcome
from services.contracts.tasks import Task
from services.contracts.trajectory import Step, Trajectory
from services.contracts.trials import TrialNote

SCHEMA_VERSION = "1.3"
_LATER = ("structure",)
"""Components that files of 1.2 and before lack."""
Value = TypeVar("Value", int, float, str)
_ACTION: TypeAdapter[Action] = TypeAdapter(Action)
_ARGUMENTS = {"DESCRIBE": "table", "SAMPLE": "table", "QUERY": "sql", "ANSWER": "value", "SQL": "sql_query"}
_TRIALS: TypeAdapter[tuple[TrialNote, ...]] = TypeAdapter(tuple[TrialNote, ...])
_OUTCOME: TypeAdapter[StatementOutcome] = TypeAdapter(StatementOutcome)

STEP = pa.struct(
    [
        pa.field("action", pa.string(), nullable=False),
        pa.field("argument", pa.string(), nullable=False),
        pa.field("malformed_reason", pa.string()),
        pa.field("result", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("outcome", pa.string()),
        pa.field("outcome_json", pa.string()),
        *(pa.field(name, pa.float64(), nullable=name in _LATER) for name in COMPONENTS),
        pa.field("reward", pa.float64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ANALYST_COMPONENTS),
        pa.field("is_done", pa.bool_()),
        pa.field("score", pa.float64()),
        pa.field("trials_json", pa.string()),
    ]
)
TIMINGS = pa.struct(
    [
        pa.field("started_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("wall_ms", pa.float64(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("policy_ms", pa.list_(pa.float64()), nullable=False),
        pa.field("sandbox_ms", pa.list_(pa.float64()), nullable=False),
        pa.field("cached", pa.list_(pa.bool_()), nullable=False),
        pa.field("prompt_tokens", pa.list_(pa.int64())),
        pa.field("completion_tokens", pa.list_(pa.int64())),
        pa.field("usd", pa.list_(pa.float64())),
        pa.field("reasoning", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("schema_version", pa.string(), nullable=False),
        pa.field("episode_id", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("task_set_hash", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("database", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("difficulty", pa.string(), nullable=False),
        pa.field("policy", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("sample_index", pa.int64(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("reward", pa.float64()),
        *(pa.field(name, pa.float64()) for name in COMPONENTS),
        pa.field("terminated", pa.bool_(), nullable=False),
        pa.field("truncation", pa.string()),
        pa.field("fault_kind", pa.string()),
        pa.field("fault_message", pa.string()),
        pa.field("verification", pa.string()),
        pa.field("step_count", pa.int32(), nullable=False),
        pa.field("steps", pa.list_(STEP), nullable=False),
        pa.field("timings", TIMINGS, nullable=False),
        *(pa.field(name, pa.float64()) for name in ANALYST_COMPONENTS),
    ],
    metadata={"assay.schema_version": SCHEMA_VERSION},
)


def to_row(trajectory: Trajectory) -> dict[str, Any]:
    """The trajectory as a row of SCHEMA."""
    spec, task, fault = trajectory.spec, trajectory.task, trajectory.fault
    graded = trajectory.reward is not None
    names = COMPONENTS_OF[task.environment]
    sums = {name: sum(getattr(step.components, name) for step in trajectory.steps) for name in names}
    return {
        "schema_version": SCHEMA_VERSION,
        **dict(spec),
        "episode_id": spec.episode_id,
        "group_id": spec.group_id,
        **dict(task),
        "verdict": trajectory.verdict,
        "reward": trajectory.reward,
        **dict.fromkeys(ALL_COMPONENTS),
        **{name: value if graded else None for name, value in sums.items()},
        "terminated": trajectory.terminated,
        "truncation": trajectory.truncation,
        "fault_kind": fault.kind if fault else None,
        "fault_message": fault.message if fault else None,
        "verification": trajectory.verification.model_dump_json() if trajectory.verification else None,
        "step_count": len(trajectory.steps),
        "steps": list(map(_step_row, trajectory.steps)),
        "timings": {
            "started_at": round(trajectory.started_at * 1000),
            "wall_ms": trajectory.wall_ms,
            "attempts": trajectory.attempts,
            "policy_ms": [timing.policy_ms for timing in trajectory.timings],
            "sandbox_ms": [timing.sandbox_ms for timing in trajectory.timings],
            "cached": [timing.cached for timing in trajectory.timings],
            "prompt_tokens": _said([timing.prompt_tokens for timing in trajectory.timings]),
            "completion_tokens": _said([timing.completion_tokens for timing in trajectory.timings]),
            "usd": _said([timing.usd for timing in trajectory.timings]),
            "reasoning": _said([timing.reasoning or None for timing in trajectory.timings]),
        },
    }


def _said(values: list[Value | None]) -> list[Value | None] | None:
    """NULL for an episode of which no step says any."""
    return None if all(value is None for value in values) else values


def to_table(trajectories: Sequence[Trajectory]) -> pa.Table:
    """Rows of SCHEMA, in the given order."""
    return pa.Table.from_pylist(list(map(to_row, trajectories)), schema=SCHEMA)


def check_version(version: str) -> None:
    """Raise BadInput for a row that this code cannot read."""
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BadInput(f"trajectories of schema {version}; this version reads {SCHEMA_VERSION}")


def task_of(row: dict[str, Any]) -> Task:
    """The task of a row."""
    return Task.model_validate({name: row[name] for name in Task.model_fields})


def verification_of(row: dict[str, Any]) -> Verification | None:
    """What the variants said of a row's answer; None if they were not asked, or in a row from before 1.1."""
    text = row.get("verification")
    return None if text is None else Verification.model_validate_json(text)


def step_of(row: dict[str, Any]) -> Step:
    """A step of a row."""
    outcome, trials = row["outcome_json"], row.get("trials_json")
    return Step(
        action=action_of(row),
        result=row["result"],
        error=row["error"],
        outcome=None if outcome is None else _OUTCOME.validate_json(outcome),
        components=_components_of(row),
        reward=row["reward"],
        score=row.get("score"),
        trials=None if trials is None else _TRIALS.validate_json(trials),
    )


def _components_of(row: dict[str, Any]) -> RewardComponents | AnalystComponents:
    """Those of the step's environment: the others' columns are NULL, or missing in an older file."""
    if row.get(ANALYST_COMPONENTS[0]) is not None:
        return AnalystComponents.model_validate({name: row[name] for name in ANALYST_COMPONENTS})
    return RewardComponents.model_validate({name: row.get(name) or 0.0 for name in COMPONENTS})


def action_of(row: dict[str, Any]) -> Action:
    """The action of a step's row, exactly as it was taken."""
    if row["malformed_reason"] is not None:
        return Malformed(text=row["argument"], reason=row["malformed_reason"])
    fields = {"kind": row["action"], _ARGUMENTS[row["action"]]: row["argument"]}
    if row["action"] == "SQL":
        fields["is_done"] = row["is_done"]
    return _ACTION.validate_python(fields)


def _step_row(step: Step) -> dict[str, Any]:
    action = step.action
    outcome = step.outcome
    row: dict[str, Any] = {
        "action": action.kind,
        "argument": argument_of(action),
        "malformed_reason": action.reason if isinstance(action, Malformed) else None,
        "result": step.result,
        "error": step.error,
        "outcome": _outcome_word(outcome),
        "outcome_json": _outcome_text(outcome),
        **dict(step.components),
        "reward": step.reward,
    }
    if isinstance(step.components, AnalystComponents):
        row |= _analyst_part(step)
    return row


def _analyst_part(step: Step) -> dict[str, Any]:
    """What a step of the analyst has more; explore's components are 0 there, as they may not be NULL."""
    action = step.action
    return {
        **dict.fromkeys(COMPONENTS, 0.0),
        "is_done": action.is_done if isinstance(action, SQLAction) else None,
        "score": step.score,
        "trials_json": None if step.trials is None else _TRIALS.dump_json(step.trials).decode(),
    }


def _outcome_text(outcome: StatementOutcome | None) -> str | None:
    if outcome is None:
        return None
    return outcome.json_text if isinstance(outcome, ResultTable) else outcome.model_dump_json()


def _outcome_word(outcome: StatementOutcome | None) -> str | None:
    """rows, sql_error, or what refused or stopped the statement."""
    if outcome is None or isinstance(outcome, ResultTable) or outcome.kind == "sql_error":
        return None if outcome is None else outcome.kind
    return outcome.reason
