"""inference.py against our own policy server, and against one that answers with everything but completions."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.inference.lines import LogFormat, log_of
from cluster.inference.playing import infer
from services.contracts.actions import Action
from services.contracts.errors import BadInput
from services.contracts.policy import AnyTurn
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer, read_gold
from services.policy.deployment import PolicyHost
from services.policy.random import RandomPolicy
from services.policy.remote import OpenAIPolicy
from tests.openenv_server import Served

SCRIPT = Path(__file__).parents[1] / "inference.py"
NAMES = ["fix_broken_join", "category_revenue", "churn_analysis"]
START = re.compile(r'\[START\] task_id=(\w+) task_name="([\w ]+)" difficulty=(easy|medium|hard)')
STEP = re.compile(r'\[STEP\] step_count=(\d+) action=("(?:[^"\\]|\\.)*") reward=(-?\d+\.\d\d) done=(true|false)')
END = re.compile(r"\[END\] total_steps=(\d+) final_reward=(-?\d+\.\d\d) task_score=(\d\.\d\d)")
BROKEN = 'SELEC "broken\nline"'
Answer = Callable[[BaseHTTPRequestHandler, str, int], None]


@contextmanager
def model(answer: Answer) -> Iterator[str]:
    """An HTTP server that answers each request by `answer(handler, body, number)`; its base URL."""
    asked = iter(range(10**9))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])).decode(), next(asked))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, status: int, body: str, kind: str = "application/json") -> None:
    data = body.encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.send_header("Retry-After", "0")
    handler.end_headers()
    handler.wfile.write(data)


def says(handler: BaseHTTPRequestHandler, content: str | None) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    completion = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    send(handler, 200, json.dumps(completion))


def run(url: str, task_set: TaskSet, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"API_BASE_URL": url, "MODEL_NAME": "m", "HF_TOKEN": "t", "ASSAY_ANALYST_TASKS": str(task_set.folder)}
    command = [sys.executable, str(SCRIPT), *options]
    merged = {**os.environ, **settings, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=merged, check=False, timeout=120)


async def lines_of(
    url: str, task_set: TaskSet, name: str = "m", form: LogFormat = "assay", task_s: float = 60.0
) -> tuple[list[str], list[str]]:
    """What would be on stdout, and what went wrong."""
    policy = OpenAIPolicy(url, name, timeout_s=0.2 if task_s < 60 else 30)

    async def act(turn: AnyTurn) -> Action:
        return (await policy.act([turn]))[0]

    lines: list[str] = []
    problems = await infer(lambda: task_set, act, log_of(form, name), lines.append, task_s)
    return lines, [type(problem).__name__ for problem in problems]


def heads(lines: list[str]) -> list[str]:
    return [line.split(" ")[0] for line in lines if not line.startswith("[STEP]")]


@pytest.fixture(scope="module")
def right(named_analyst_set: TaskSet) -> dict[str, GoldAnswer]:
    return read_gold(named_analyst_set.gold_path)


def solver(right: dict[str, GoldAnswer]) -> Answer:
    """Answers each task with a statement that fails, and then with its gold."""

    def answer(handler: BaseHTTPRequestHandler, body: str, _: int) -> None:
        request = json.loads(body)
        task_id = json.loads(request["messages"][1]["content"])["task_id"]
        first = len(request["messages"]) == 2
        sql = BROKEN if first else right[task_id].gold_sql
        says(handler, json.dumps({"sql_query": sql, "is_done": not first}))

    return answer


def test_the_script_logs_line_by_line_what_a_model_does(
    named_analyst_set: TaskSet, right: dict[str, GoldAnswer]
) -> None:
    with model(solver(right)) as url:
        done = run(url, named_analyst_set)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    for place, name in enumerate(NAMES):
        texts = zip((START, STEP, STEP, END), lines[4 * place : 4 * place + 4], strict=True)
        begun, failed, solved, over = (form.fullmatch(text).groups() for form, text in texts)  # type: ignore[union-attr]
        assert begun == (name, name.replace("_", " ").title(), ["easy", "medium", "hard"][place])
        assert (failed[0], json.loads(failed[1]), *failed[2:]) == ("1", BROKEN, "-0.10", "false")
        assert (solved[0], json.loads(solved[1]), solved[3]) == ("2", right[name].gold_sql, "true")
        assert over[0] == "2"
        assert float(over[1]) == pytest.approx(float(solved[2]) - 0.1, abs=0.011)
        assert float(over[2]) >= 0.8


async def test_openenvs_own_format_has_the_lines_of_its_sample(
    named_analyst_set: TaskSet, right: dict[str, GoldAnswer]
) -> None:
    with model(solver(right)) as url:
        lines, _ = await lines_of(url, named_analyst_set, form="openenv")
    assert lines[0] == "[START] task=fix_broken_join env=analyst model=m"
    assert re.fullmatch(r'\[STEP\] step=1 action="SELEC .*" reward=-0\.10 done=false error=".+"', lines[1])
    assert re.fullmatch(r'\[STEP\] step=2 action="SELECT .*" reward=1\.00 done=true error=null', lines[2])
    assert lines[3] == "[END] success=true steps=2 score=1.00 rewards=-0.10,1.00"


async def test_our_own_policy_server_plays_the_tasks(named_analyst_set: TaskSet) -> None:
    host = PolicyHost({"random": RandomPolicy})

    async def serve(request: Request) -> Response:
        return await host(request)

    route = Route("/v1/chat/completions", serve, methods=["POST"])
    server = Served(Starlette(routes=[route]), {})
    server.start()
    lines, problems = await lines_of(f"{server.url}/v1", named_analyst_set, "random")
    server.stop()
    assert problems == []
    assert heads(lines) == ["[START]", "[END]"] * 3
    assert len(lines) > 6


def hostile(handler: BaseHTTPRequestHandler, body: str, number: int) -> None:
    """Everything that a server may get wrong, one after the other."""
    match number % 9:
        case 0:
            send(handler, 429, '{"error": {"message": "slow down"}}')
        case 1:
            send(handler, 500, "oops", "text/plain")
        case 2:
            send(handler, 200, "")
        case 3:
            send(handler, 200, "<html>welcome</html>", "text/html")
        case 4:
            send(handler, 200, "{not json")
        case 5:
            send(handler, 200, "null")
        case 6:
            send(handler, 200, '{"choices": [{}]}')
        case 7:
            says(handler, None)
        case 8:
            handler.connection.close()


def always(status: int, body: str, kind: str = "application/json") -> Answer:
    return lambda handler, _, __: send(handler, status, body, kind)


def silent(handler: BaseHTTPRequestHandler, body: str, number: int) -> None:
    """Say nothing until the client has gone."""
    handler.connection.recv(1)


HOSTILE: list[Answer] = [
    hostile, always(429, "{}"), always(500, "oops"), always(200, ""), always(200, "<html>", "text/html"),
    always(200, "[]"), always(200, '{"choices": []}'), always(200, '{"choices": [{"message": {"content": 5}}]}'),
    silent, always(404, '{"error": {"message": "no such model"}}'),
]  # fmt: skip


async def test_every_task_has_its_end_whatever_the_server_answers(named_analyst_set: TaskSet) -> None:
    async def against(answer: Answer) -> tuple[list[str], list[str]]:
        with model(answer) as url:
            return await lines_of(url, named_analyst_set, task_s=1.0)

    for lines, problems in await asyncio.gather(*map(against, HOSTILE)):
        assert heads(lines) == ["[START]", "[END]"] * 3
        assert len(problems) == 3
        assert all(END.fullmatch(line) for line in lines if line.startswith("[END]"))


@pytest.mark.soak
@pytest.mark.parametrize("answer", HOSTILE)
@pytest.mark.parametrize("form", ["assay", "openenv"])
def test_the_script_ends_every_task_and_says_why_on_stderr(
    named_analyst_set: TaskSet, answer: Answer, form: str
) -> None:
    with model(answer) as url:
        done = run(url, named_analyst_set, "--log-format", form, "--call-timeout", "0.2", "--task-timeout", "3")
    assert heads(done.stdout.splitlines()) == ["[START]", "[END]"] * 3
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr


@pytest.mark.soak
def test_without_a_key_every_task_has_its_end(named_analyst_set: TaskSet) -> None:
    done = run("http://127.0.0.1:9/v1", named_analyst_set, HF_TOKEN="")
    assert heads(done.stdout.splitlines()) == ["[START]", "[END]"] * 3
    assert done.returncode == 2


async def test_without_a_task_set_every_task_has_its_end() -> None:
    def missing() -> TaskSet:
        return TaskSet(Path("/nowhere"))

    async def act(turn: AnyTurn) -> Action:
        raise AssertionError(turn)

    lines: list[str] = []
    problems = await infer(missing, act, log_of("assay", "m"), lines.append)
    assert heads(lines) == ["[START]", "[END]"] * 3
    assert [type(problem) for problem in problems] == [BadInput]


async def test_a_model_that_answers_with_nothing_pays_for_it_and_ends(named_analyst_set: TaskSet) -> None:
    with model(lambda handler, _, __: says(handler, "")) as url:
        lines, problems = await lines_of(url, named_analyst_set)
    ends = [END.fullmatch(line) for line in lines if line.startswith("[END]")]
    assert [end and end.groups() for end in ends] == [("10", "-1.10", "0.00")] * 3
    assert problems == []
