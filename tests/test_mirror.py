"""A run behind a URL is the run: finished files get there, whole, once, whatever fails on the way."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.config import RolloutConfig
from cluster.mirror import SPENDING, Mirror
from cluster.plan import plan_episodes
from cluster.purse import Spent, read_spending
from cluster.run import RunFolder, write_whole
from cluster.schema import to_table
from cluster.sink import Sink, recover
from cluster.sinks import name_of
from services.contracts.errors import BadInput, SinkFault
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.play import faulted
from services.env_actor.taskset import TaskSet
from tests.bucket import ENVIRONMENT, Bucket

CONFIG = RolloutConfig(name="mirrored", policies=("random",), samples=3)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    made = Bucket()
    yield made
    made.stop()


@pytest.fixture(params=["s3", "file", "local"])
def mirror(request: pytest.FixtureRequest, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """On S3, by pyarrow's file system for files, and by fsspec's."""
    for name, value in (ENVIRONMENT | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    urls = {
        "s3": bucket.url(tmp_path.name),
        "file": f"file://{tmp_path}/far",
        "local": f"local://{tmp_path}/far",
    }
    return Mirror(urls[request.param])


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 records make a file."""
    monkeypatch.setattr("cluster.sink.ROLL_BYTES", 100_000)


def records(specs: list[EpisodeSpec], task_set: TaskSet) -> pa.Table:
    return to_table([faulted(spec, task_set.tasks[spec.task_id], OSError("gone"), 3) for spec in specs])


def start(mirror: Mirror, task_set: TaskSet) -> tuple[RunFolder, list[EpisodeSpec]]:
    specs = plan_episodes(CONFIG, task_set)
    return RunFolder.start(mirror.folder(), CONFIG, task_set, specs, None, mirror), specs


def store(run: RunFolder, specs: list[EpisodeSpec], task_set: TaskSet) -> None:
    sink = Sink(run.path, "one", run.mirror)
    sink.append(records(specs, task_set))
    sink.close()


def ids(folder: Path) -> list[str]:
    return sorted(i for path in folder.rglob("*.parquet") for i in pq.read_table(path)["episode_id"].to_pylist())


def test_what_is_finished_is_there_and_what_is_logged_is_not(mirror: Mirror, builtin: TaskSet, tmp_path: Path) -> None:
    run, specs = start(mirror, builtin)
    sink = Sink(run.path, "one", mirror)
    sink.append(records(specs[:256], builtin))
    sink.append(records(specs[256:], builtin))
    mirror.fetch(tmp_path / "copy")
    assert len(ids(tmp_path / "copy")) == 256
    assert not list((tmp_path / "copy").rglob("*.log"))
    sink._log.close()  # as if it had been killed
    run.gather()
    run.check_complete(specs)
    shutil.rmtree(run.path)
    again = RunFolder.open(mirror.folder(), mirror)
    again.check_complete(specs)
    assert again.manifest == run.manifest


def test_two_sinks_that_stored_the_same_leave_it_once(mirror: Mirror, builtin: TaskSet, tmp_path: Path) -> None:
    run, specs = start(mirror, builtin)
    for name in ("one", "two"):
        sink = Sink(run.path, name, mirror)
        sink.append(records(specs[:10], builtin))
        sink.close()
    run.gather()
    mirror.fetch(tmp_path / "copy")
    assert ids(tmp_path / "copy") == sorted(spec.episode_id for spec in specs[:10])


def test_a_url_that_holds_a_run_takes_no_other_and_one_that_was_emptied_does(
    mirror: Mirror, builtin: TaskSet, tmp_path: Path
) -> None:
    run, specs = start(mirror, builtin)
    store(run, specs[:256], builtin)
    with pytest.raises(BadInput, match="add --resume"):
        start(mirror, builtin)
    files, root = mirror._open()
    files.delete_dir_contents(root)
    fresh, _ = start(mirror, builtin)
    assert fresh.episodes() == {}


def test_a_copy_of_the_run_that_had_the_url_before_is_not_mixed_in(mirror: Mirror, builtin: TaskSet) -> None:
    run, specs = start(mirror, builtin)
    store(run, specs[:256], builtin)
    elsewhere = run.manifest.model_copy(update={"created_at": "2030-01-01T00:00:00+00:00"})
    files, root = mirror._open()
    files.delete_dir_contents(root)
    with files.open_output_stream(f"{root}/manifest.json") as stream:
        stream.write(elsewhere.model_dump_json().encode())
    found = RunFolder.open(mirror.folder(), mirror)
    assert (found.manifest, found.episodes()) == (elsewhere, {})


def test_a_file_that_did_not_get_there_gets_there_with_the_next_sink(builtin: TaskSet, tmp_path: Path) -> None:
    far = tmp_path / "far"
    mirror = Mirror(f"file://{far}")
    specs = plan_episodes(CONFIG, builtin)
    run = RunFolder.start(tmp_path / "near", CONFIG, builtin, specs, None, mirror)
    shutil.rmtree(far)
    far.write_text("in the way")
    sink = Sink(run.path, "one")
    sink._mirror = mirror
    with pytest.raises(SinkFault, match="cannot write trajectories/one-"):
        sink.append(records(specs[:256], builtin))
    sink._log.close()
    far.unlink()
    RunFolder.resume(run.path, CONFIG, builtin, None, mirror)
    assert ids(far) == sorted(spec.episode_id for spec in specs[:256])


def test_a_sink_that_begins_again_while_the_bucket_is_away_loses_nothing(builtin: TaskSet, tmp_path: Path) -> None:
    far = tmp_path / "far"
    mirror = Mirror(f"file://{far}")
    specs = plan_episodes(CONFIG, builtin)
    run = RunFolder.start(tmp_path / "near", CONFIG, builtin, specs, None, mirror)
    first = Sink(run.path, "one", mirror)
    first.append(records(specs[:10], builtin))
    first._log.close()  # as if it had been killed
    far.rename(tmp_path / "away")
    far.write_text("in the way")
    with pytest.raises(SinkFault, match="cannot write trajectories/one-"):
        Sink(run.path, "one", mirror)
    far.unlink()
    (tmp_path / "away").rename(far)
    again = Sink(run.path, "one", mirror)
    again.append(records(specs[10:20], builtin))
    again.close()
    recover(run.path, mirror)
    assert ids(far) == sorted(spec.episode_id for spec in specs[:20])


def test_a_node_brings_what_is_of_this_run_and_not_of_one_that_had_the_url_before(
    mirror: Mirror, builtin: TaskSet, tmp_path: Path
) -> None:
    run, specs = start(mirror, builtin)
    before = run.manifest.model_copy(update={"created_at": "2020-01-01T00:00:00+00:00"})
    births = RunFolder(run.path, before, mirror).birth, run.birth
    for birth, some in zip(births, (specs[:5], specs[5:9]), strict=True):
        with closing(Sink(tmp_path / "node", name_of(birth, "12345678", "actor"))) as sink:
            sink.append(records(some, builtin))
    recover(tmp_path / "node", mirror, name_of(run.birth, "12345678", "*"))
    run.gather()
    assert sorted(run.episodes()) == sorted(spec.episode_id for spec in specs[5:9])


def test_what_a_run_has_spent_is_known_where_it_goes_on(mirror: Mirror, builtin: TaskSet) -> None:
    run, _ = start(mirror, builtin)
    write_whole(run.path / SPENDING, Spent(tokens=7).model_dump_json())
    run.gather()
    write_whole(run.path / SPENDING, Spent(tokens=9).model_dump_json())  # as if killed then
    assert read_spending(RunFolder.open(mirror.folder(), mirror).path) == Spent(tokens=9)
    shutil.rmtree(run.path)  # another machine
    assert read_spending(RunFolder.open(mirror.folder(), mirror).path) == Spent(tokens=7)


def test_a_url_of_no_file_system_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no run folder can be at nowhere"):
        Mirror("nowhere://a/b").sizes()
