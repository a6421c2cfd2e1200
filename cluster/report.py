"""What a run came to, computed from its Parquet files: rates with intervals, reward components, steps, speed."""

import json
from typing import Any

import duckdb

from cluster.run import RunFolder, RunManifest, write_whole
from services.contracts.errors import BadInput
from services.contracts.grading import COMPONENTS_OF
from services.contracts.record import Record

REPORT = "report.json"
CONFIDENCE = 0.95

_SLICES = """
SELECT policy, {difficulty} AS difficulty, count(*) AS episodes,
       count(*) FILTER (reward IS NOT NULL) AS graded,
       count(*) FILTER (reward IS NULL) AS faulted,
       count(*) FILTER (verdict = 'correct') AS correct,
       avg(reward) AS reward, {components}, avg(step_count) FILTER (reward IS NOT NULL) AS steps
FROM episodes GROUP BY ALL ORDER BY ALL
"""
_STEPS = """
WITH step AS (SELECT unnest(timings.policy_ms) + unnest(timings.sandbox_ms) AS ms FROM episodes)
SELECT count(*), quantile_cont(ms, 0.5), quantile_cont(ms, 0.99) FROM step
"""
_SPAN = """
SELECT sum(step_count), (epoch_ms(max(timings.started_at)) - epoch_ms(min(timings.started_at))
       + coalesce(arg_max(timings.wall_ms, timings.started_at), 0)) / 1000 FROM episodes
"""


class Slice(Record):
    """The episodes of one policy, of all difficulties or of one."""

    policy: str
    difficulty: str
    episodes: int
    graded: int
    faulted: int
    correct: int
    success_rate: float | None
    success_low: float | None
    success_high: float | None
    reward: float | None
    components: dict[str, float]
    steps: float | None


class RunReport(Record):
    """A run's figures. planned = graded + faulted."""

    manifest: RunManifest
    planned: int
    graded: int
    faulted: int
    policies: tuple[Slice, ...]
    by_difficulty: tuple[Slice, ...]
    verdicts: dict[str, dict[str, int]]
    truncations: dict[str, int]
    step_ms_p50: float | None
    step_ms_p99: float | None
    steps: int
    seconds: float
    steps_per_s: float | None


def make_report(run: RunFolder) -> RunReport:
    """The report of what the run folder holds. Raises BadInput if it holds nothing or a damaged file."""
    files = [str(path) for path in run.files()]
    if not files:
        raise BadInput(f"{run.path} holds no trajectories yet")
    with duckdb.connect() as connection:
        try:
            connection.read_parquet(files, union_by_name=True).create_view("episodes")
            return _report(run, connection)
        except duckdb.Error as error:
            raise BadInput(f"{run.path}: {str(error).splitlines()[0]}") from error


def write_report(run: RunFolder) -> RunReport:
    """Make the report and leave it in the run folder as report.json."""
    report = make_report(run)
    write_whole(run.path / REPORT, json.dumps(report.model_dump(mode="json"), indent=1) + "\n")
    return report


def _report(run: RunFolder, connection: duckdb.DuckDBPyConnection) -> RunReport:
    policies = _slices(connection, "'all'")
    _, p50, p99 = _one(connection, _STEPS)
    steps, seconds = _one(connection, _SPAN)
    verdicts: dict[str, dict[str, int]] = {}
    for policy, verdict, count in connection.execute(
        "SELECT policy, verdict, count(*) FROM episodes GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        verdicts.setdefault(policy, {})[verdict] = count
    truncations = connection.execute(
        "SELECT truncation, count(*) FROM episodes WHERE truncation IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return RunReport(
        manifest=run.manifest,
        planned=run.manifest.planned,
        graded=sum(part.graded for part in policies),
        faulted=sum(part.faulted for part in policies),
        policies=policies,
        by_difficulty=_slices(connection, "difficulty"),
        verdicts=verdicts,
        truncations=dict(truncations),
        step_ms_p50=p50,
        step_ms_p99=p99,
        steps=int(steps or 0),
        seconds=float(seconds or 0.0),
        steps_per_s=float(steps) / float(seconds) if seconds else None,
    )


def _slices(connection: duckdb.DuckDBPyConnection, difficulty: str) -> tuple[Slice, ...]:
    played = {str(row[0]) for row in connection.execute("SELECT DISTINCT environment FROM episodes").fetchall()}
    components = [name for place, names in COMPONENTS_OF.items() if place in played for name in names]
    means = ", ".join(f"avg({name}) AS {name}" for name in components)
    cursor = connection.execute(_SLICES.format(difficulty=difficulty, components=means))
    names = [column[0] for column in cursor.description]
    order = ("easy", "medium", "hard")
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    rows.sort(key=lambda row: (row["policy"], order.index(row["difficulty"]) if row["difficulty"] in order else -1))
    return tuple(_slice(row, components) for row in rows)


def _slice(row: dict[str, Any], components: list[str]) -> Slice:
    low, high = interval(row["correct"], row["graded"])
    return Slice(
        policy=row["policy"],
        difficulty=row["difficulty"],
        episodes=row["episodes"],
        graded=row["graded"],
        faulted=row["faulted"],
        correct=row["correct"],
        success_rate=row["correct"] / row["graded"] if row["graded"] else None,
        success_low=low,
        success_high=high,
        reward=row["reward"],
        components={name: row[name] or 0.0 for name in components},
        steps=row["steps"],
    )


def interval(successes: int, trials: int) -> tuple[float | None, float | None]:
    """The Wilson 95 % interval of a rate; (None, None) without trials."""
    from scipy.stats import binomtest  # a second of imports, which only a report needs

    if trials == 0:
        return None, None
    found = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    return row if row is not None else ()
