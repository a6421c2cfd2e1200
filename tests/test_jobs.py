"""Jobs on a cluster that somebody else started and that has nothing of ours, while a real Prometheus looks on."""

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

import pyarrow.parquet as pq
import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.commands.playing import IN_A_JOB
from cluster.dashboards import DASHBOARDS, Panel, lines_of, read_dashboards
from cluster.prometheus import query
from cluster.report import RunReport
from services.contracts.errors import BadInput
from tests.bucket import ENVIRONMENT, Bucket
from tests.clusters import Head, head, machine_without_us, submit
from tests.upstream import says, upstream

ROOT = Path(__file__).resolve().parents[1]
PANELS = [(board.name, panel) for board in read_dashboards() for panel in board.panels]
MINUTES = 4
ASSAY = [sys.executable, "-m", "cluster.cli"]
EPISODES = 120
SMALL = tuple(f"--set=actors.{value}" for value in ("cpus=0.5", "memory_mb=512", "batch=8", "placement_s=240"))
PATIENCE_S = 240.0
pytestmark = pytest.mark.timeout(900)  # patience for a busy machine; a quiet one needs half a minute for all


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    made = Bucket()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A cluster that has nothing of ours, and keys for the bucket."""
    machine = tmp_path_factory.mktemp("machine")
    with head(machine_without_us(machine / "venv"), **ENVIRONMENT) as started:
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
def job(cluster: Head, prometheus: str, bucket: Bucket) -> subprocess.CompletedProcess[str]:
    """A whole job, its run in the bucket; Prometheus has seen the end of it. One of its policies counts tokens."""
    with upstream(says("QUERY SELECT 1", "ANSWER 1")) as server:
        done = submit(
            cluster,
            "rollout",
            "configs/quickstart.yaml",
            f"--set=policies=[random,heuristic,'openai:m@{server.url}']",
            f"--limit={EPISODES}",
            f"--out={bucket.url('whole')}",
            "--json",
            *SMALL,
            folder=ROOT,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def report(job: subprocess.CompletedProcess[str], bucket: Bucket) -> RunReport:
    """The report that the job left in the bucket."""
    return RunReport.model_validate_json(bucket.read("whole/report.json"))


def counted(url: str) -> dict[str, float]:
    """What PromQL says of all rollouts so far."""
    rewards = "sum by (policy) (ray_assay_rewards_total{{sign='{}'}})"
    return {
        "steps": total(url, "sum(ray_assay_steps_total)"),
        "decisions": total(url, "sum(ray_assay_policy_seconds_bucket_total{le='+Inf'})"),
        "truncations": total(url, "sum(ray_assay_truncations_total)"),
        **figures(url, "sum by (policy, verdict) (ray_assay_episodes_total)"),
        **{f"+{name}": paid for name, paid in figures(url, rewards.format("plus")).items()},
        **{f"-{name}": paid for name, paid in figures(url, rewards.format("minus")).items()},
    }


def total(url: str, promql: str) -> float:
    return sum(value for _, value in query(url, promql))


def figures(url: str, promql: str) -> dict[str, float]:
    return {" ".join(labels.values()): value for labels, value in query(url, promql)}


def reported(report: RunReport) -> dict[str, float]:
    """The same, of one run by its report; a policy's rewards are one sum there."""
    verdicts = {f"{policy} {verdict}": count for policy, by in report.verdicts.items() for verdict, count in by.items()}
    played = {"steps": report.steps, "decisions": report.steps, "truncations": sum(report.truncations.values())}
    return {**played, **verdicts, **{part.policy: (part.reward or 0.0) * part.graded for part in report.policies}}


def since(url: str, before: dict[str, float]) -> dict[str, float]:
    """What has been counted since, rewards as one sum a policy."""
    fresh = {name: value - before.get(name, 0.0) for name, value in counted(url).items()}
    policies = {name[1:] for name in fresh if name[0] in "+-"}
    paid = {policy: fresh.get(f"+{policy}", 0.0) - fresh.get(f"-{policy}", 0.0) for policy in policies}
    return {name: value for name, value in {**fresh, **paid}.items() if value and name[0] not in "+-"}


def await_totals(url: str, report: RunReport, before: dict[str, float]) -> None:
    """Counters only grow: one that is too high stays so. Rewards are sums of floats, in another order."""
    expected = {name: pytest.approx(value, rel=1e-9) for name, value in reported(report).items() if value}
    deadline = time.monotonic() + PATIENCE_S
    while since(url, before) != expected and time.monotonic() < deadline:
        threading.Event().wait(0.2)
    assert since(url, before) == expected


def test_a_job_plays_from_a_checkout_and_leaves_its_run_in_a_bucket(
    job: subprocess.CompletedProcess[str], report: RunReport
) -> None:
    assert (report.planned, report.graded, report.faulted) == (EPISODES, EPISODES, 0)
    assert report.manifest.versions["assay"] == "0.1.0"
    assert f"{EPISODES} of {EPISODES} episodes" in job.stdout
    assert "run folder: s3://runs/whole" in job.stdout


def test_the_totals_of_promql_are_those_of_the_report(report: RunReport, prometheus: str) -> None:
    await_totals(prometheus, report, {})


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{board}: {panel.title}" for board, panel in PANELS])
def test_every_query_of_a_dashboard_returns_data(board: str, panel: Panel, report: RunReport, prometheus: str) -> None:
    for target in panel.targets:
        asked = panel.model_copy(update={"targets": (target,)})
        assert lines_of(prometheus, asked, 60 * MINUTES), target


def test_the_dashboards_are_drawn_with_series_for_every_panel(
    report: RunReport, prometheus: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*ASSAY, "metrics", "draw", prometheus, str(tmp_path / "pictures"), f"--minutes={MINUTES}", "--json"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    drawn = json.loads(done.stdout)
    assert {Path(one["path"]).stem: one["empty"] for one in drawn} == {board: [] for board, _ in PANELS}
    for board, panel in PANELS:
        picture = (tmp_path / "pictures" / f"{board}.svg").read_text()
        assert panel.title in picture


def test_nothing_is_drawn_where_no_prometheus_answers(tmp_path: Path) -> None:
    command = [*ASSAY, "metrics", "draw", "http://127.0.0.1:1", str(tmp_path / "pictures")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 3
    assert "no Prometheus answers at http://127.0.0.1:1" in done.stderr
    assert not (tmp_path / "pictures").exists()


def test_every_series_that_is_asked_for_is_in_the_table_and_every_one_of_the_table_is_exported(
    report: RunReport, prometheus: str
) -> None:
    documented = set(re.findall(r"^\| `(assay_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    asked = (
        "".join(path.read_text() for path in DASHBOARDS.glob("*.json"))
        + (ROOT / "k8s" / "monitoring" / "rules.yaml").read_text()
    )
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"ray_(assay_\w+)", asked)}
    assert plain - documented == set()
    seen = {labels["__name__"] for labels, _ in query(prometheus, '{__name__=~"ray_assay_.+"}')}
    exported = {re.sub(r"_(bucket|count|sum)$", "", name.removeprefix("ray_")) for name in seen}
    assert exported - documented == set()


def test_a_job_that_would_write_into_its_own_working_folder_is_refused() -> None:
    command = [*ASSAY, "rollout", "configs/quickstart.yaml", "--limit=1"]
    done = subprocess.run(command, env=os.environ | {IN_A_JOB: "{}"}, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "give --out an absolute path or a URL" in done.stderr


def test_promql_that_prometheus_refuses_is_bad_input(prometheus: str) -> None:
    with pytest.raises(BadInput, match="parse error"):
        query(prometheus, "sum(")


def test_a_folder_without_a_cluster_is_said_so(tmp_path: Path) -> None:
    command = [*ASSAY, "metrics", "up", f"--ray-folder={tmp_path}", f"--dir={tmp_path / 'p'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "ray start --head" in done.stderr
    assert not (tmp_path / "p").exists()


@pytest.mark.soak
def test_a_job_that_was_stopped_is_finished_by_one_that_resumes(cluster: Head, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("rollout", "configs/quickstart.yaml", "--set", "samples=2", f"--out={out}", *SMALL)
    submit(cluster, *words, options=("--no-wait", "--submission-id=stopped"), folder=ROOT)
    deadline = time.monotonic() + PATIENCE_S
    while not any(log.stat().st_size for log in out.glob("trajectories/*.log")):
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    client = JobSubmissionClient(cluster.dashboard, headers=cluster.headers)
    client.stop_job("stopped")
    while client.get_job_status("stopped") != JobStatus.STOPPED:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    assert not (out / "report.json").exists()
    resumed = submit(cluster, *words, "--resume", folder=ROOT)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    ids = [
        i for path in (out / "trajectories").glob("*.parquet") for i in pq.read_table(path)["episode_id"].to_pylist()
    ]
    assert len(ids) == len(set(ids)) == 600
    assert not list((out / "trajectories").glob("*.log"))
    played = re.findall(r"(\d+) of 600 episodes", resumed.stdout)
    assert int(played[-1]) == 600


@pytest.mark.soak
def test_the_totals_of_a_job_of_5000_episodes(cluster: Head, prometheus: str, bucket: Bucket) -> None:
    before = counted(prometheus)
    words = ("rollout", "configs/quickstart.yaml", "--set", "samples=25", f"--out={bucket.url('long')}", *SMALL)
    done = submit(cluster, *words, folder=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    report = RunReport.model_validate_json(bucket.read("long/report.json"))
    assert (report.planned, report.faulted) == (5000, 0)
    await_totals(prometheus, report, before)
    print(f"{report.planned} episodes, {report.steps} steps, {report.seconds:.0f} s")
