"""A small production for tests: real Delta tables with times of our own, and the files that describe its job."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from deltalake import write_deltalake

START = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
ORDERS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "day": ["2026-03-01", "2026-03-01", "2026-03-01", "2026-02-28"],
        "shop": ["a", "b", "a", "a"],
        "amount": pa.array([100, 250, 300, 50], pa.int64()).cast(pa.decimal128(21, 2)),
    }
)
DAILY = (
    "INSERT INTO sales.daily SELECT day, shop, sum(amount) AS total "
    "FROM sales.orders WHERE day = '2026-03-01' GROUP BY ALL"
)


def daily(day: str, totals: dict[str, int]) -> pa.Table:
    """Rows of the output."""
    total = pa.array(list(totals.values()), pa.int64()).cast(pa.decimal128(38, 2))
    return pa.table({"day": [day] * len(totals), "shop": list(totals), "total": total})


def minutes(count: float) -> datetime:
    """A time before or after the run's start."""
    return START + timedelta(minutes=count)


def set_times(table: Path, times: Sequence[datetime | None], **more: Any) -> None:
    """Give the commits of a table their times; None takes a commit's own account of itself away."""
    for version, time in enumerate(times):
        path = table / "_delta_log" / f"{version:020d}.json"
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        for entry in [entry for entry in entries if "commitInfo" in entry]:
            if time is None:
                entries.remove(entry)
            else:
                entry["commitInfo"] |= {"timestamp": round(time.timestamp() * 1000), **more}
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def append_entries(table: Path, version: int, entries: Sequence[dict[str, Any]]) -> None:
    """Commit a version by hand."""
    path = table / "_delta_log" / f"{version:020d}.json"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def make_production(root: Path) -> Path:
    """orders (read at version 0, changed after the start) and daily (version 0 before the run, 1 after it)."""
    write_deltalake(root / "orders", ORDERS, partition_by=["day"])
    write_deltalake(root / "orders", ORDERS.slice(0, 1), mode="append")
    set_times(root / "orders", [minutes(-60), minutes(30)])
    write_deltalake(root / "daily", daily("2026-02-28", {"a": 50}), partition_by=["day"])
    write_deltalake(root / "daily", daily("2026-03-01", {"a": 400, "b": 250}), mode="append")
    set_times(root / "daily", [minutes(-1440), minutes(4)])
    (root / "daily.sql").write_text(DAILY + ";\n")
    return root


def job_tree(**changes: Any) -> dict[str, Any]:
    """What a JOB.yaml of that production says."""
    tree = {
        "job_id": 4711,
        "task_key": "daily",
        "sql": "daily.sql",
        "sources": {"sales.orders": "orders"},
        "output": {"name": "sales.daily", "path": "daily"},
        "started_at": START.isoformat(),
        "history": [{"started_at": START.isoformat(), "duration_s": 300.5}],
        "contract": {"keys": [{"table": "sales.orders", "columns": ["id"]}]},
    }
    return tree | changes


def write_job(root: Path, **changes: Any) -> Path:
    """A JOB.yaml in the folder."""
    path = root / "JOB.yaml"
    path.write_text(yaml.safe_dump(job_tree(**changes), sort_keys=False))
    return path
