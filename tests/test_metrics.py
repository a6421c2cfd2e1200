"""Operators see what happens: a real Prometheus scrapes a cluster that somebody else started."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.prometheus import query
from cluster.report import RunReport
from services.contracts.errors import BadInput
from tests.clusters import Head, head

ROOT = Path(__file__).resolve().parents[1]
DASHBOARDS = sorted((ROOT / "configs" / "dashboards").glob("*.json"))
ASSAY = [sys.executable, "-m", "cluster.cli"]
EPISODES = 120
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Head]:
    with head() as started:
        yield started


@pytest.fixture(scope="module")
def prometheus(cluster: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of what `assay metrics up` starts."""
    kept = tmp_path_factory.mktemp("prometheus")
    command = ["metrics", "up", f"--ray-folder={cluster.folder}", f"--dir={kept}", "--port=0", "--every=1", "--json"]
    shown = subprocess.run([*ASSAY, *command], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    watching = json.loads(shown)
    yield watching["url"]
    os.kill(watching["pid"], signal.SIGTERM)


@pytest.fixture(scope="module")
def report(cluster: Head, prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """Of a rollout that Prometheus has seen the end of."""
    out = tmp_path_factory.mktemp("runs") / "run"
    command = ["rollout", "configs/quickstart.yaml", f"--limit={EPISODES}", f"--out={out}", "--json"]
    command += ["--set", "actors.cpus=0.5", "--set", "actors.memory_mb=512"]
    done = subprocess.run([*ASSAY, *command], check=True, env=cluster.environment, stdout=subprocess.PIPE, cwd=ROOT)
    deadline = time.monotonic() + PATIENCE_S
    while total(prometheus, "sum(ray_assay_episodes_total)") < EPISODES:
        assert time.monotonic() < deadline, query(prometheus, "{__name__=~'ray_assay_.*_total'}")
        threading.Event().wait(0.2)
    return RunReport.model_validate_json(done.stdout)


def total(url: str, promql: str) -> float:
    return sum(value for _, value in query(url, promql))


def by(url: str, label: str, promql: str) -> dict[str, float]:
    return {labels[label]: value for labels, value in query(url, promql)}


def test_the_totals_of_promql_are_those_of_the_report(report: RunReport, prometheus: str) -> None:
    assert total(prometheus, "sum(ray_assay_steps_total)") == report.steps
    assert sum(by(prometheus, "reason", "sum by (reason) (ray_assay_truncations_total)").values()) == sum(
        report.truncations.values()
    )
    for part in report.policies:
        chosen = f'policy="{part.policy}"'
        verdicts = by(prometheus, "verdict", f"sum by (verdict) (ray_assay_episodes_total{{{chosen}}})")
        assert verdicts == report.verdicts[part.policy]
        assert total(prometheus, f"sum(ray_assay_policy_seconds_count{{{chosen}}})") == pytest.approx(
            total(prometheus, f"sum(ray_assay_steps_total{{{chosen}}})"), abs=0
        )
        paid = sum(
            sign * total(prometheus, f'sum(ray_assay_rewards_total{{{chosen},sign="{name}"}})')
            for name, sign in (("plus", 1), ("minus", -1))
        )
        assert paid == pytest.approx((part.reward or 0.0) * part.graded, rel=1e-9)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_returns_data(path: Path, report: RunReport, prometheus: str) -> None:
    assert [promql for promql in queries(path) if not drawn(prometheus, promql)] == []


def drawn(url: str, promql: str) -> list[object]:
    """The series of the last minutes; an actor's gauges end with it."""
    now = time.time()
    asked = {"query": promql, "start": now - 240, "end": now, "step": 1}
    answer = httpx.post(f"{url}/api/v1/query_range", data=asked)
    found: list[object] = answer.json()["data"]["result"]
    return found


def queries(path: Path) -> list[str]:
    """As Grafana sends them, with every policy chosen. Nobody asked for tokens in this rollout."""
    panels = json.loads(path.read_text())["panels"]
    written = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    filled = [promql.replace("$policy", ".*").replace("$__rate_interval", "1m") for promql in written]
    return [promql for promql in filled if "tokens" not in promql]


def test_every_series_that_is_asked_for_is_in_the_table_and_every_one_of_the_table_is_exported(
    report: RunReport, prometheus: str
) -> None:
    documented = set(re.findall(r"^\| `(assay_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    asked = "".join(path.read_text() for path in DASHBOARDS) + (ROOT / "k8s" / "monitoring" / "rules.yaml").read_text()
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"ray_(assay_\w+)", asked)}
    assert plain - documented == set()
    seen = {labels["__name__"] for labels, _ in query(prometheus, '{__name__=~"ray_assay_.+"}')}
    exported = {re.sub(r"_(bucket|count|sum)$", "", name.removeprefix("ray_")) for name in seen}
    assert exported - documented == set()


def test_promql_that_prometheus_refuses_is_bad_input(prometheus: str) -> None:
    with pytest.raises(BadInput, match="parse error"):
        query(prometheus, "sum(")


def test_a_folder_without_a_cluster_is_said_so(tmp_path: Path) -> None:
    command = [*ASSAY, "metrics", "up", f"--ray-folder={tmp_path}", f"--dir={tmp_path / 'p'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "ray start --head" in done.stderr
    assert not (tmp_path / "p").exists()
