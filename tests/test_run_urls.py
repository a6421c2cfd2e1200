"""Evaluations and regrades behind a URL: made, grown from another machine, derived again, and compared there."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.env_actor.taskset import TaskSet
from tests.bucket import ENVIRONMENT, NAME, Bucket
from tests.test_cli import assay

CONFIG = """name: small
policies: [random]
tasks: {path: TASKS, sample: 8}
seed: 1
actors: {count: 1, cpus: 0.5, memory_mb: 512}
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        made = Bucket()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def url(bucket: Bucket, builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An evaluation of a policy on one machine, to which another one has added a policy."""
    folder, out = tmp_path_factory.mktemp("machines"), bucket.url("small")
    (folder / "small.yaml").write_text(CONFIG.replace("TASKS", str(builtin.folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "first"))
        first = assay("evaluate", folder / "small.yaml", "--out", out, "--json")
        assert first.returncode == 0, first.stderr
        assert "run folder: s3://runs/small" in first.stderr
        assert [path for path in (folder / "first" / "assay").rglob("*") if path.is_file()] == []
        patch.setenv("XDG_CACHE_HOME", str(folder / "second"))
        more = ("--set", "policies=[random,heuristic]", "--no-worse-than", out)
        grown = assay("evaluate", folder / "small.yaml", "--out", out, "--resume", *more)
        assert grown.returncode == 0, grown.stderr
        yield out


def test_what_an_evaluation_leaves_is_all_behind_its_url(url: str, bucket: Bucket) -> None:
    listed = bucket.client.list_objects_v2(Bucket=NAME, Prefix="small/")["Contents"]
    names = {entry["Key"].removeprefix("small/") for entry in listed}
    assert {"manifest.json", "policies.json", "report.json", "report.md", "success.svg"} < names
    assert {"trajectories"} == {name.partition("/")[0] for name in names if "/" in name}
    evaluation = json.loads(bucket.read("small/report.json"))
    assert (evaluation["planned"], evaluation["graded"]) == (16, 16)
    assert {one["policy"] for one in evaluation["policies"]} == {"heuristic", "random"}


def test_report_and_compare_read_it_there(url: str) -> None:
    assert json.loads(assay("report", url, "--json").stdout)["planned"] == 16
    compared = json.loads(assay("compare", url, url, "--json").stdout)
    assert {one["comparison"]["pairs"] for one in compared["policies"]} == {8}
    assert {one["comparison"]["success"]["delta"]["mean"] for one in compared["policies"]} == {0.0}


def test_a_regrade_derives_its_rewards_and_sees_one_that_was_changed_there(url: str, bucket: Bucket) -> None:
    assert assay("regrade", url).returncode == 0
    listed = bucket.client.list_objects_v2(Bucket=NAME, Prefix="small/trajectories/")["Contents"]
    key = listed[0]["Key"]
    rows = pq.read_table(io.BytesIO(bucket.read(key)))
    place = rows.schema.get_field_index("reward")
    raised = pa.array([9.0, *rows["reward"].to_pylist()[1:]], rows.schema.field("reward").type)
    written = io.BytesIO()
    pq.write_table(rows.set_column(place, rows.schema.field("reward"), raised), written, compression="none")
    bucket.client.put_object(Bucket=NAME, Key=key, Body=written.getvalue())
    done = assay("regrade", url)
    assert done.returncode == 1
    assert "reward: stored 9.0" in done.stdout


def test_a_url_with_no_run_is_bad_input(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = assay("regrade", bucket.url("nothing"))
    assert done.returncode == 2
    assert "no run at s3://runs/nothing" in done.stderr
