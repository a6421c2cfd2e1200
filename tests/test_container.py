"""The container image: its Dockerfile is linted, and its steps run and serve within OpenEnv's limits."""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from cluster.listening import check_port
from tests.dockerfile import build, inside, instructions
from tests.openenv_server import Bare

REPOSITORY = Path(__file__).parents[1]
NEEDED = ("Dockerfile", "requirements", "pyproject.toml", "uv.lock", "README.md", "services", "cluster", "server")
PROCESSES, READY_S = 256, 30


def test_the_dockerfile_passes_its_linter() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, REPOSITORY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_nobody_and_says_whether_it_is_well() -> None:
    said = list(instructions((REPOSITORY / "Dockerfile").read_text()))
    words = [word for word, _ in said]
    assert words.count("FROM") == 2
    assert dict(said)["USER"] == "65532:65532"
    assert "/health" in dict(said)["HEALTHCHECK"]
    assert dict(said)["EXPOSE"] == "8000"


def limited() -> None:
    """What a container may use: processes of its user, and open files."""
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


@pytest.mark.soak
def test_the_image_is_ready_in_time_and_serves_from_a_read_only_root(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for name in NEEDED:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, context / name)
    stage = build(context, tmp_path / "stages")
    port = check_port("127.0.0.1", 0)
    command = [word.replace("8000", str(port)) for word in stage.command]
    started = time.monotonic()
    server = subprocess.Popen(inside(stage, command, writable=False), env=stage.env, preexec_fn=limited)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            ready(http, server, started + READY_S)
            assert http.get("/web/").status_code == 200
        with connect(f"ws://127.0.0.1:{port}/analyst/ws", proxy=None) as socket:
            bare = Bare(socket)
            assert bare.ask("reset", task_id="fix_broken_join")["type"] == "observation"
            told = bare.ask("step", sql_query="SELECT 1 AS one")["data"]["observation"]
            assert (told["last_result"], told["error_message"]) == ([{"one": 1}], None)
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert sum(process.num_threads() for process in family) < PROCESSES
        assert {process.uids().real for process in family if process.name().startswith("python")} == {65532}
    finally:
        server.terminate()
        server.wait()


def ready(http: httpx.Client, server: subprocess.Popen[bytes], until: float) -> None:
    """Return once it says that it is healthy; fail if that takes too long."""
    while time.monotonic() < until:
        assert server.poll() is None, "the server has ended"
        try:
            if http.get("/health").json() == {"status": "healthy"}:
                return
        except httpx.TransportError:
            continue
    raise AssertionError(f"not ready in {READY_S} s")
