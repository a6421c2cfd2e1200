"""A task set may lie elsewhere: it is fetched once, whole, by its hash, or refused with one clear line."""

import functools
import http.server
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cluster.config import RolloutConfig, TasksConfig
from cluster.regrade import Regrader
from cluster.rollout import prepare
from cluster.run import RunFolder
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import BadInput, Infrastructure
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.fetching import TaskSetAddress, fetch, fetch_files, open_on_node
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.registry import policy_maker
from services.sandbox.limits import SandboxLimits

ROOT = Path(__file__).resolve().parents[1]


class FolderFiles:
    """Files of a folder, counted as they are copied."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self.copied: list[str] = []

    def copy(self, name: str, to: Path) -> None:
        self.copied.append(name)
        shutil.copyfile(Path(self.where) / name, to)


class FullDisk(FolderFiles):
    """The disk fills up with the gold."""

    def copy(self, name: str, to: Path) -> None:
        if name == "gold.jsonl":
            raise OSError(28, "No space left on device")
        super().copy(name, to)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def copy(builtin: TaskSet, tmp_path: Path) -> Path:
    shutil.copytree(builtin.folder, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def url(copy: Path) -> Iterator[str]:
    """The copy behind a web server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=copy)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def kept(cache: Path) -> list[str]:
    """The folders of the cache, finished or not."""
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_a_set_is_fetched_over_http_and_is_then_there_without_the_server(
    builtin: TaskSet, url: str, copy: Path, cache: Path
) -> None:
    expected = builtin.manifest.task_set_hash()
    folder = fetch(url, None, cache)
    assert folder == cache / expected
    assert names(folder) == names(builtin.folder)
    TaskSet(folder).check_databases(builtin.manifest.databases)
    shutil.rmtree(copy)
    assert fetch(url, expected, cache) == folder
    with pytest.raises(BadInput, match=r"lacks manifest\.json"):
        fetch(url, None, cache)


def test_a_set_is_fetched_from_a_file_url_and_from_inside_a_zip(builtin: TaskSet, copy: Path, cache: Path) -> None:
    shutil.make_archive(str(copy), "zip", copy)
    assert names(fetch(f"file://{copy}/", None, cache / "a")) == names(builtin.folder)
    assert names(fetch(f"zip://::file://{copy}.zip", None, cache / "b")) == names(builtin.folder)


@pytest.mark.parametrize(
    "name", ["tasks.jsonl", "gold.jsonl", "databases/retail.duckdb", "databases/retail.catalog.json"]
)
def test_a_changed_or_missing_file_is_refused_by_name_and_nothing_is_kept(copy: Path, cache: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BadInput, match=f"{name} .* was changed"):
        fetch(f"file://{copy}", None, cache)
    (copy / name).unlink()
    with pytest.raises(BadInput, match=f"lacks {name}"):
        fetch(f"file://{copy}", None, cache)
    assert kept(cache) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("http://127.0.0.1:9/set", "cannot read manifest.json .* Cannot connect"),
        ("nothing://here", "Protocol not known"),
        ("file:///nowhere/at/all", "nothing is there"),
    ],
)
def test_a_source_that_cannot_be_reached_is_one_line(cache: Path, source: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        fetch(source, None, cache)
    assert "\n" not in str(caught.value)


def test_a_source_that_is_no_task_set_or_another_one_is_refused(copy: Path, cache: Path) -> None:
    with pytest.raises(BadInput, match=r"has changed: its hash is [0-9a-f]{16}, not 0000"):
        fetch(f"file://{copy}", "0000", cache)
    (copy / "manifest.json").write_text("<html>")
    with pytest.raises(BadInput, match=r"set/manifest\.json: "):
        fetch(f"file://{copy}", None, cache)


def test_a_manifest_cannot_write_outside_of_the_cache(copy: Path, cache: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["databases"]["../../../evil"] = manifest["databases"].pop("retail")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="no file name"):
        fetch(f"file://{copy}", None, cache)
    assert kept(cache) == []


def test_a_full_disk_is_infrastructure_and_leaves_nothing(copy: Path, cache: Path) -> None:
    with pytest.raises(Infrastructure, match="No space left"):
        fetch_files(FullDisk(copy), None, cache)
    assert kept(cache) == []


FETCHING = """
import sys
from pathlib import Path
from services.env_actor.fetching import fetch
print(fetch(sys.argv[1], None, Path(sys.argv[2])))
"""


def test_many_at_once_get_the_same_folder(url: str, cache: Path) -> None:
    command = [sys.executable, "-c", FETCHING, url, str(cache)]
    fetchers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = {fetcher.communicate(timeout=60)[0].strip() for fetcher in fetchers}
    (name,) = kept(cache)
    assert found == {str(cache / name)}


KILLED = """
import os, signal, sys
from pathlib import Path
from services.env_actor.fetching import UrlFiles, fetch_files
class Dying(UrlFiles):
    def copy(self, name, to):
        super().copy(name, to)
        if name == "gold.jsonl":
            os.kill(os.getpid(), signal.SIGKILL)
fetch_files(Dying(sys.argv[1]), None, Path(sys.argv[2]))
"""


def test_a_fetch_that_is_killed_leaves_no_half_set(builtin: TaskSet, copy: Path, cache: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, f"file://{copy}", str(cache)], cwd=ROOT, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (cache / builtin.manifest.task_set_hash()).exists()
    folder = fetch(f"file://{copy}", None, cache)
    assert names(folder) == names(builtin.folder)
    assert kept(cache) == [folder.name]


def address(folder: Path, source: str, task_set: TaskSet) -> TaskSetAddress:
    return TaskSetAddress(folder=folder, source=source, task_set_hash=task_set.manifest.task_set_hash())


def test_a_node_that_has_the_folder_copies_nothing(builtin: TaskSet, copy: Path, cache: Path) -> None:
    driver = FolderFiles(builtin.folder)
    assert open_on_node(address(copy, str(copy), builtin), driver, cache).folder == copy
    assert driver.copied == []


def test_a_node_with_another_or_half_a_folder_at_that_path_takes_the_driver_s(
    builtin: TaskSet, copy: Path, cache: Path
) -> None:
    (copy / "databases" / "retail.duckdb").unlink()
    driver = FolderFiles(builtin.folder)
    for _ in range(2):
        opened = open_on_node(address(copy, str(copy), builtin), driver, cache)
        assert opened.folder == cache / builtin.manifest.task_set_hash()
    assert driver.copied.count("databases/retail.duckdb") == 1


def test_a_node_that_lacks_a_fetched_folder_fetches_it_from_the_url(builtin: TaskSet, url: str, cache: Path) -> None:
    opened = open_on_node(address(Path("/nowhere"), url, builtin), None, cache)
    assert names(opened.folder) == names(builtin.folder)


async def test_an_actor_on_such_a_node_plays(builtin: TaskSet, url: str, own_cache: Path) -> None:
    stored: list[Trajectory] = []

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        stored.extend(trajectories)

    setup = ActorSetup(
        task_set=address(Path("/nowhere"), url, builtin), limits=EpisodeLimits(), sandbox=SandboxLimits()
    )
    actor = EnvActor(setup, {"heuristic": policy_maker("heuristic")}, GoldGrader.read, deliver)
    spec = EpisodeSpec(run_id="r", task_set_hash="h", task_id="retail-000", policy="heuristic", seed=0, sample_index=0)
    await actor.play([spec])
    actor.close()
    assert [trajectory.verdict for trajectory in stored] == ["correct"]
    assert (own_cache / "assay" / "tasksets" / "by-hash" / builtin.manifest.task_set_hash()).is_dir()


def test_a_run_names_its_source_as_it_was_given_and_a_regrade_fetches_it(
    builtin: TaskSet, url: str, own_cache: Path, tmp_path: Path
) -> None:
    config = RolloutConfig(name="far", tasks=TasksConfig(path=url), policies=("random",))
    prepared = prepare(config, open_task_set(url), 3)
    run = RunFolder.start(tmp_path / "run", config, prepared.task_set, prepared.specs, 3)
    assert json.loads((run.path / "manifest.json").read_text())["task_set"] == url
    shutil.rmtree(own_cache)
    Regrader(run)
    assert (own_cache / "assay" / "tasksets" / "by-hash" / builtin.manifest.task_set_hash()).is_dir()
