"""Policies behind real Ray Serve: the official client is content, and the episodes are those that inline would give."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from cluster.config import ActorsConfig, RolloutConfig, TasksConfig
from cluster.listening import check_port
from cluster.report import RunReport
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder
from cluster.serving import serve_on_loopback, serve_to_handles
from cluster.session import ray_session
from services.contracts.actions import Answer, ExploreAction
from services.contracts.errors import BadInput, PolicyFault, SinkFault
from services.contracts.observation import Observation
from services.contracts.policy import Turn
from services.env_actor.taskset import TaskSet
from services.policy.handle import HandlePolicy
from services.policy.registry import policy_maker
from services.policy.remote import OpenAIPolicy
from services.policy.trained.manifest import SearchSettings
from tests.checkpoints import follower
from tests.conftest import Down
from tests.test_cli import ROOT, assay, refused
from tests.test_rollout import rows

IGNORED = frozenset({"run_id", "attempts"})
SEED = 2**60 - 3
TOKEN = "a-token-of-some-length"
FIRST = Observation(question="How many?", schema_info="tables: orders", budget_remaining=15)
TURN = Turn(task_id="retail-000", seed=SEED, first=FIRST, history=())
SAID: list[Any] = [{"role": "user", "content": "Question: How many?\n\ntables: orders\nSteps left: 15"}]


class Echo:
    """Answers with what it was told beside the messages."""

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        return [Answer(value=f" {turn.seed}\n{turn.task_id} ") for turn in turns]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_session():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy that is read from a folder, and runs networks."""
    return f"trained:{follower(tmp_path_factory.mktemp('checkpoint'), SearchSettings(width=2))}"


@pytest.fixture(scope="module")
def inline(builtin: TaskSet, trained: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of the rollout with the policies in the actors."""
    return played(*rollout("inline", builtin, trained, tmp_path_factory.mktemp("inline")))


def rollout(
    access: str, builtin: TaskSet, trained: str, folder: Path, kill: bool = False
) -> tuple[RunFolder, RunReport]:
    config = RolloutConfig.model_validate(
        {
            "name": "served",
            "tasks": TasksConfig(path=str(builtin.folder)),
            "policies": ("random", "heuristic", trained),
            "policy_access": access,
            "seed": 3,
            "actors": ActorsConfig(count=1, cpus=0.5, memory_mb=512, batch=4),
        }
    )
    prepared = prepare(config, builtin, 24)
    run = RunFolder.start(folder / "run", config, builtin, prepared.specs, 24)
    killed = threading.Event()

    def on_done(summaries: Sequence[object]) -> None:
        if kill and not killed.is_set():
            (replica,) = replicas()
            replica.kill()
            killed.set()

    report = run_rollout(prepared, run, on_done)
    assert killed.is_set() == kill
    return run, report


def played(run: RunFolder, report: RunReport) -> list[dict[str, Any]]:
    """Every row but for timings and the run's name, which says how the policies were reached."""
    assert (report.planned, report.graded, report.faulted) == (24, 24, 0)
    return [{key: value for key, value in row.items() if key not in IGNORED} for row in rows(run)]


def replicas() -> list[psutil.Process]:
    """The Serve replicas of this test's cluster."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::ServeReplica:policies-")
    ]


@pytest.mark.parametrize("access", [pytest.param("handle", marks=pytest.mark.soak), "http"])
def test_the_same_seed_gives_the_same_episodes_however_a_policy_is_reached(
    access: str, inline: list[dict[str, Any]], builtin: TaskSet, trained: str, tmp_path: Path
) -> None:
    assert played(*rollout(access, builtin, trained, tmp_path)) == inline


@pytest.mark.parametrize("access", ["handle", pytest.param("http", marks=pytest.mark.soak)])
def test_kill_9_of_the_replica_in_the_middle_of_a_run_costs_nothing(
    access: str, inline: list[dict[str, Any]], builtin: TaskSet, trained: str, tmp_path: Path
) -> None:
    assert played(*rollout(access, builtin, trained, tmp_path, kill=True)) == inline


@pytest.fixture(scope="class")
def url() -> Iterator[str]:
    makers = {name: policy_maker(name) for name in ("random", "heuristic")}
    with serve_on_loopback({**makers, "echo": Echo, "down": Down}, "test") as url:
        yield url


@pytest.fixture(scope="class")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


class TestServer:
    """One server for all of these."""

    def test_the_official_client_lists_the_models(self, client: OpenAI) -> None:
        assert [model.id for model in client.models.list()] == ["random", "heuristic", "echo", "down"]

    def test_the_official_client_completes(self, client: OpenAI) -> None:
        answer = client.chat.completions.create(model="heuristic", messages=SAID, seed=1)
        assert (answer.object, answer.model) == ("chat.completion", "heuristic")
        assert answer.choices[0].message.content == "DESCRIBE orders"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 0

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ([], "messages must be"),
            ([{"role": "user", "content": "hello"}], "a user message must be"),
            ([{"role": "robot", "content": "hello"}], "messages.0.role"),
        ],
    )
    def test_malformed_messages_are_status_400(self, client: OpenAI, said: list[Any], why: str) -> None:
        with pytest.raises(BadRequestError, match=why):
            client.chat.completions.create(model="random", messages=said)

    def test_an_unknown_model_is_status_404_in_openais_form(self, client: OpenAI) -> None:
        with pytest.raises(NotFoundError) as caught:
            client.chat.completions.create(model="gpt", messages=SAID)
        assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("POST", "/chat/completions", "{", 400),
            ("POST", "/chat/completions", '{"model": "random", "messages": [], "stream": true}', 400),
            ("POST", "/chat/completions", '{"model": "random", "messages": [], "n": 2}', 400),
            ("GET", "/chat/completions", "", 405),
            ("GET", "/nothing", "", 404),
        ],
    )
    def test_every_refusal_is_openais_error_json(
        self, url: str, method: str, path: str, body: str, status: int
    ) -> None:
        answer = httpx2.request(method, url + path, content=body)
        assert answer.status_code == status
        assert answer.json()["error"]["type"] == "invalid_request_error"

    async def test_seed_and_task_id_reach_the_policy_whole_by_handle_and_http(self, url: str) -> None:
        expected = [Answer(value=f" {SEED}\nretail-000 ")] * 3
        assert await HandlePolicy("test", "echo").act([TURN] * 3) == expected
        assert await OpenAIPolicy(url, "echo").act([TURN] * 3) == expected

    async def test_a_policy_that_fails_is_a_fault_by_handle_and_http(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.policy.remote.HTTP_RETRIES", 0)
        with pytest.raises(PolicyFault, match="connection refused"):
            await HandlePolicy("test", "down").act([TURN])
        with pytest.raises(PolicyFault, match="failed with status 503"):
            await OpenAIPolicy(url, "down").act([TURN])

    async def test_what_a_server_refuses_is_bad_input(self, url: str) -> None:
        with pytest.raises(BadInput, match=r"refused with status 404: .*no model gpt"):
            await OpenAIPolicy(url, "gpt").act([TURN])

    def test_a_second_server_on_the_same_cluster_is_refused_and_a_handle_app_is_not(self, url: str) -> None:
        with pytest.raises(BadInput, match="use policy_access: handle"), serve_on_loopback({}, "other"):
            pass
        with serve_to_handles({"echo": Echo}, "other"):
            pass
        assert httpx2.get(f"{url}/models").status_code == 200


def test_a_free_port_is_one_that_the_kernel_gives_to_nobody_else() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(check_port("127.0.0.1", 0) < lowest for _ in range(200))


def test_a_clock_that_leaps_while_policies_are_taken_down_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve waits by the time of day."""

    def leap_and_fail() -> None:
        monkeypatch.setattr("time.time", partial(next, count(time.time(), 3600)))
        raise SinkFault("no space left")

    with pytest.raises(SinkFault, match="no space"), serve_to_handles({"echo": Echo}, "leaping"):
        leap_and_fail()


async def test_a_server_that_is_not_there_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.policy.remote.HTTP_RETRIES", 0)
    with pytest.raises(PolicyFault, match="cannot be reached"):
        await OpenAIPolicy(f"http://127.0.0.1:{check_port('127.0.0.1', 0)}/v1", "random").act([TURN])


async def test_a_server_that_does_not_answer_in_time_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.policy.remote.HTTP_RETRIES", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(PolicyFault, match="APITimeoutError"):
            await OpenAIPolicy(url, "random", timeout_s=0.2).act([TURN])


def test_a_key_comes_from_the_environment_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(BadInput, match="set SOME_KEY"):
        OpenAIPolicy("http://127.0.0.1:1/v1", "random", key_variable="SOME_KEY")


def test_a_port_that_is_taken_and_an_unknown_policy_are_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(assay("serve", "policy", "--port", port), f"cannot listen on 127.0.0.1:{port}: Address already in use")
    refused(assay("serve", "policy", "--policy", "randm"), "unknown policy randm; did you mean random?")
    refused(assay("serve", "policy", "--set", "port=1"), "give the file with --config")


def test_a_server_for_others_is_refused_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_SERVE_TOKEN", raising=False)
    refused(assay("serve", "policy", "--config", "configs/serve-policies.yaml"), "set ASSAY_SERVE_TOKEN to a secret")


@pytest.mark.parametrize("stop", ["terminal", pytest.param("supervisor", marks=pytest.mark.soak)])
def test_the_command_serves_who_shows_the_token_until_it_is_stopped(stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "cluster.cli", "serve", "policy", "--config", "configs/serve-policies.yaml"]
    command += ["--host", "127.0.0.1", "--port", "0", "--policy", "random", "--set", "replica.cpus=0.5"]
    monkeypatch.setenv("ASSAY_SERVE_TOKEN", TOKEN)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with OpenAI(base_url=url, api_key=TOKEN) as client:
            assert [model.id for model in client.models.list()] == ["random"]
        assert httpx2.get(f"{url}/models").status_code == 401
        assert httpx2.get(url.removesuffix("v1") + "health").json() == {"status": "ok"}
        if stop == "terminal":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
