"""Rules fire when they should and keep quiet otherwise; promtool runs them over series of an hour."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.prometheus import rule_groups

PROMTOOL = str(Path(sys.executable).parent / "promtool")
Series = dict[str, str]
"""Values, a minute apart, by series."""


@dataclass(frozen=True)
class Case:
    alert: str
    fires: Series
    quiet: Series
    summary: str
    labels: dict[str, str] = field(default_factory=dict)


def bucket(slow: int) -> Series:
    """A hundred batches a minute; so many of them take longer than 3 s, and less than 10."""
    rates = {"3": 100 - slow, "10": 100, "+Inf": 100}
    return {f'ray_assay_sink_seconds_bucket{{le="{le}"}}': f"0+{rate}x60" for le, rate in rates.items()}


def episodes(ungraded: int) -> Series:
    return {
        'ray_assay_episodes_total{verdict="ungraded"}': f"0+{ungraded}x60",
        'ray_assay_episodes_total{verdict="correct"}': f"0+{100 - ungraded}x60",
    }


def statements(timed_out: int) -> Series:
    return {
        'ray_assay_statement_limits_total{reason="timeout"}': f"0+{timed_out}x60",
        'ray_assay_statements_total{outcome="rows"}': "0+100x60",
    }


def run(a_minute: int) -> Series:
    return {
        "ray_assay_run_episodes_left": "7x60",
        'ray_assay_episodes_total{verdict="correct"}': f"50+{a_minute}x60",
    }


NODE = {"NodeAddress": "n"}
CASES = [
    Case(
        "AssayEpisodesFaulted",
        episodes(3),
        episodes(0),
        "3% of the episodes end without a grade: a machine is broken.",
    ),
    Case("AssayRunStalled", run(0), run(1), "7 episodes are left, and none was stored in ten minutes."),
    Case("AssaySinkSlow", bucket(50), bucket(0), "One batch in a hundred takes 9.86s to become safe on disk."),
    Case(
        "AssayStatementsTimeOut",
        statements(4),
        statements(1),
        "4% of the statements run out of time; recorded truncations stand.",
        {"reason": "timeout"},
    ),
    Case(
        "AssayChildrenEnd",
        {'ray_assay_actor_children_ended_total{NodeAddress="n"}': "0+90x60"},
        {'ray_assay_actor_children_ended_total{NodeAddress="n"}': "0+30x60"},
        "More than one sandbox child a second ends on n.",
        NODE,
    ),
    Case(
        "AssayActorMemory",
        {'ray_assay_actor_memory_bytes{NodeAddress="n"}': "7000000000x60"},
        {'ray_assay_actor_memory_bytes{NodeAddress="n"}': "5000000000x60"},
        "An env actor on n holds 6.519GiB; its ceiling is 8 GB.",
        NODE,
    ),
]


def alerts() -> dict[str, dict[str, Any]]:
    rules: list[dict[str, Any]] = [rule for group in rule_groups()["groups"] for rule in group["rules"]]  # type: ignore[index]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def promtool(folder: Path, *command: str) -> str:
    (folder / "rules.yml").write_text(yaml.safe_dump(rule_groups()))
    done = subprocess.run([PROMTOOL, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_rule_is_sound(tmp_path: Path) -> None:
    assert "rules found" in promtool(tmp_path, "check", "rules", "--lint-fatal", "rules.yml")


def test_every_alert_says_what_to_do_and_has_a_case() -> None:
    assert all(rule["annotations"]["runbook"] for rule in alerts().values())
    assert {case.alert for case in CASES} == set(alerts())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    rule = alerts()[case.alert]
    written = rule["annotations"] | {"summary": case.summary}
    fired = {"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": written}
    tests = [given(case.fires, case.alert, [fired]), given(case.quiet, case.alert, [])]
    (tmp_path / "cases.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": tests}))
    promtool(tmp_path, "test", "rules", "cases.yml")


def given(series: Series, alert: str, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": "40m", "alertname": alert, "exp_alerts": expected}],
    }
