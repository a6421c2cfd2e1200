"""The Green Agent's A2A server, as its users meet it: the SDK's own client, and participants that are real servers."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.helpers.proto_helpers import get_data_parts, get_message_text, new_text_message
from a2a.types.a2a_pb2 import Role, SendMessageRequest, TaskState

from cluster.evaluation.oracle import write_oracle
from cluster.green.participants import GIVE_UP
from cluster.green.request import read_request
from cluster.listening import check_port
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSet
from tests.test_cli import ROOT, assay, refused


@dataclass
class Told:
    """What a client heard of one task."""

    states: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)

    def of(self, role: str) -> dict[str, Any]:
        (found,) = [one for one in self.scores["participants"] if one["role"] == role]
        return dict(found)


def until_it_answers(url: str, process: "subprocess.Popen[str]") -> None:
    transport = httpx.HTTPTransport(retries=100)
    with httpx.Client(transport=transport, timeout=60) as client:
        client.get(url)
    assert process.poll() is None


@pytest.fixture(scope="module")
def oracle(builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle") / "oracle.jsonl"
    write_oracle(builtin, path)
    return path


def participants_at(port: int, oracle: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.participants", str(port), str(oracle)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    until_it_answers(f"http://127.0.0.1:{port}/", process)
    return process


@pytest.fixture(scope="module")
def agents(oracle: Path) -> Iterator[str]:
    """The base URL of the participants."""
    port = check_port("127.0.0.1", 0)
    process = participants_at(port, oracle)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def green(builtin: TaskSet, runs: Path) -> Iterator[str]:
    """The URL of `assay serve green-agent`."""
    options = ("--port", "0", "--tasks", str(builtin.folder), "--out", str(runs))
    command = [sys.executable, "-m", "cluster.cli", "serve", "green-agent", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    until_it_answers(url, process)
    yield url
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def ask(green: str, text: str) -> Told:
    """What the SDK's client hears, from first to last."""

    async def talk() -> Told:
        told = Told()
        config = ClientConfig(streaming=True, httpx_client=httpx.AsyncClient(timeout=120))
        async with await create_client(green, config) as client:
            message = new_text_message(text, role=Role.ROLE_USER)
            async for event in client.send_message(SendMessageRequest(message=message)):
                if event.HasField("status_update"):
                    told.states.append(TaskState.Name(event.status_update.status.state))
                    told.said.append(get_message_text(event.status_update.status.message))
                if event.HasField("artifact_update"):
                    (told.scores,) = get_data_parts(event.artifact_update.artifact.parts)
        return told

    return asyncio.run(talk())


def assess(green: str, participants: dict[str, str], **config: object) -> Told:
    return ask(green, json.dumps({"participants": participants, "config": config}))


@pytest.fixture(scope="module")
def field_of_four(green: str, agents: str) -> Told:
    """A good, a random, a hanging and a lying participant, in one assessment."""
    named = {"good": "oracle", "random": "random", "liar": "liar", "hanging": "hanging"}
    urls = {role: f"{agents}/{path}/" for role, path in named.items()}
    return assess(green, urls, tasks=6, seed=3, turn_timeout_s=10)


def test_updates_are_streamed_and_the_task_is_completed(field_of_four: Told) -> None:
    assert field_of_four.states[-1] == "TASK_STATE_COMPLETED"
    assert field_of_four.states.count("TASK_STATE_WORKING") > 5
    assert "24 of 24 episodes" in field_of_four.said


def test_the_good_one_is_paid_and_the_random_one_hardly(field_of_four: Told) -> None:
    good, random = field_of_four.of("good"), field_of_four.of("random")
    assert (good["score"], good["success_rate"], good["faulted"]) == (1.0, 1.0, 0)
    assert good["avg_steps"] == 2
    assert random["graded"] == 6
    assert random["success_rate"] < 0.5
    pair = next(one for one in field_of_four.scores["comparisons"] if (one["a"], one["b"]) == ("good", "random"))
    assert pair["pairs"] == 6
    assert pair["success_delta"] < 0


def test_the_liar_is_graded_by_what_it_did(field_of_four: Told) -> None:
    liar = field_of_four.of("liar")
    assert (liar["score"], liar["success_rate"], liar["graded"]) == (0, 0, 6)
    assert liar["verdicts"] == {"no_submission": 6}
    assert liar["failures"] == {"malformed": 6}


def test_the_hanging_one_is_a_fault_and_no_verdict_and_gains_nothing(field_of_four: Told) -> None:
    hanging = field_of_four.of("hanging")
    assert (hanging["score"], hanging["success_rate"], hanging["graded"]) == (0, None, 0)
    assert hanging["faults"] == {"PolicyFault": 6}
    assert hanging["verdicts"] == {"ungraded": 6}


def test_what_was_assessed_can_be_regraded_and_shown(field_of_four: Told, runs: Path) -> None:
    run = runs / field_of_four.scores["run"]
    assert (run / "report.md").is_file()
    done = assay("regrade", run)
    assert done.returncode == 0, done.stdout
    assert "24 episodes, 18 regraded, 0 differences" in done.stdout


def test_one_that_floods_or_fails_is_a_fault_and_an_openai_url_is_assessed_too(green: str, agents: str) -> None:
    urls = {"flood": f"{agents}/flooding", "failing": f"{agents}/failing", "model": f"{agents}/openai/v1"}
    told = assess(green, urls, tasks=3, turn_timeout_s=20, models={"model": "some-model"})
    assert told.states[-1] == "TASK_STATE_COMPLETED"
    assert told.of("model")["score"] == 1.0
    for role in ("flood", "failing"):
        assert (told.of(role)["faults"], told.of(role)["score"]) == ({"PolicyFault": 3}, 0)


def test_one_that_dies_is_a_fault_and_the_rest_is_played(green: str, agents: str, oracle: Path) -> None:
    port = check_port("127.0.0.1", 0)
    mortal = participants_at(port, oracle)
    urls = {"dying": f"http://127.0.0.1:{port}/dying/", "good": f"{agents}/oracle/"}
    told = assess(green, urls, tasks=5, turn_timeout_s=30)
    assert mortal.wait(30) == 1
    assert told.of("good")["score"] == 1.0
    dying = told.of("dying")
    assert (dying["score"], dying["graded"], dying["faulted"]) == (0, 0, 5)


def test_an_assessment_that_runs_out_of_time_ends_with_what_it_has(green: str, agents: str) -> None:
    told = assess(green, {"hanging": f"{agents}/hanging/"}, tasks=2, timeout_s=1, turn_timeout_s=600)
    assert told.states[-1] == "TASK_STATE_COMPLETED"
    assert told.of("hanging")["faults"] == {"OutOfTime": 2}


@pytest.mark.parametrize(
    ("request_text", "said"),
    [
        ("assess me", "Invalid JSON"),
        ("{}", "participants: Field required"),
        ('{"participants": {}}', "at least 1"),
        ('{"participants": {"a": "ftp://x"}}', "participants.a"),
        ('{"participants": {"../a": "http://x"}}', "pattern"),
        ('{"participants": {"a": "http://me:secret@x"}}', "holds a name or password"),
        ('{"participants": {"a": "http://x"}, "config": {"task": 3}}', "did you mean tasks?"),
        ('{"participants": {"a": "http://x"}, "config": {"models": {"b": "m"}}}', "which is no participant"),
        ('{"participants": {"a": "http://x"}, "config": {"timeout_s": 1e9}}', "config.timeout_s"),
    ],
)
def test_a_request_that_is_wrong_says_what(request_text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_request(request_text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_request_is_a_rejected_task_that_says_why(green: str, runs: Path) -> None:
    before = sorted(runs.iterdir())
    told = assess(green, {"a": "http://127.0.0.1:9/"}, tasks=5_000)
    assert told.states == ["TASK_STATE_REJECTED"]
    assert "config.tasks is 5000, but builtin has 100 tasks" in told.said[0]
    assert sorted(runs.iterdir()) == before


def test_a_port_that_is_taken_is_one_line(builtin: TaskSet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = assay("serve", "green-agent", "--port", port, "--tasks", builtin.folder)
    refused(done, f"cannot listen on 127.0.0.1:{port}")


def test_patience_ends_after_turns_that_are_documented() -> None:
    assert GIVE_UP == 3
