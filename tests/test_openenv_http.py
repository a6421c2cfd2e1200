"""Over HTTP: OpenEnv's routes, its page at /web, its validator, Prometheus, and nothing that answers 500."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openenv.cli._validation import validate_multi_mode_deployment, validate_running_environment
from openenv.validation import Level, run_validation
from prometheus_client.parser import text_string_to_metric_families
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from services.env_actor.taskset import TaskSet
from tests.openenv_server import Served, serving

REPOSITORY = Path(__file__).parents[1]
DESCRIBE = {"action_type": "DESCRIBE", "argument": "orders"}


@pytest.fixture(scope="module")
def served(builtin: TaskSet, named_analyst_set: TaskSet) -> Iterator[Served]:
    with serving(builtin, named_analyst_set, web=True) as server:
        yield server


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=30) as client:
        yield client


def test_an_episode_goes_on_from_request_to_request_by_its_id(http: httpx.Client) -> None:
    begun = http.post("/explore/reset", json={"task_id": "retail-000", "seed": 1}).json()
    episode_id = begun["metadata"]["episode_id"]
    for count in (1, 2):
        told = http.post("/explore/step", json={"action": DESCRIBE, "episode_id": episode_id}).json()
        assert told["observation"]["step_count"] == count
    ended = http.post(
        "/explore/step", json={"action": {"action_type": "ANSWER", "argument": "no"}, "episode_id": episode_id}
    )
    assert (ended.json()["done"], ended.json()["metadata"]["verdict"]) == (True, "incorrect")
    again = http.post("/explore/step", json={"action": DESCRIBE, "episode_id": episode_id})
    assert (again.status_code, again.json()["detail"]) == (409, "the episode is over: reset first")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("step", {"action": DESCRIBE}, 409),
        ("step", {"action": DESCRIBE, "episode_id": "unknown"}, 404),
        ("step", {"action": {"action_type": "QUERY"}}, 422),
        ("reset", {"task_id": "none-such"}, 422),
        ("reset", {"task_id": 5}, 422),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_reason(
    http: httpx.Client, path: str, body: dict[str, object], status: int
) -> None:
    answer = http.post(f"/explore/{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_the_page_at_web_plays_an_episode(http: httpx.Client) -> None:
    page = http.get("/web/")
    assert page.status_code == 200
    assert "gradio" in page.text
    assert http.post("/web/reset", json={"task_id": "retail-000"}).json()["observation"]["step_count"] == 0
    assert http.post("/web/step", json={"action": DESCRIBE}).json()["observation"]["step_count"] == 1
    assert http.get("/web/state").json()["task_id"] == "retail-000"
    assert http.post("/web/step", json={"action": {"action_type": 5}}).status_code == 422


def test_the_tasks_can_be_listed_and_asked_for_by_their_place(http: httpx.Client) -> None:
    assert http.get("/assay_explore/splits").json() == [{"name": "explore", "type": "validation"}]
    assert http.post("/assay_explore/num_tasks", json={"split": "explore"}).json() == {"num_tasks": 100}
    task = http.post("/assay_explore/task", json={"split": "explore", "index": 7}).json()["task"]
    begun = http.post("/reset", json={"split": "explore", "index": 7}).json()
    assert begun["metadata"]["task_id"] == task["id"]
    assert http.post("/assay_explore/task", json={"split": "explore", "index": 100}).status_code == 400


def test_the_same_seed_draws_the_same_task(http: httpx.Client) -> None:
    drawn = {http.post("/reset", json={"seed": 11}).json()["metadata"]["task_id"] for _ in range(3)}
    assert len(drawn) == 1
    assert len({http.post("/reset", json={"seed": seed}).json()["metadata"]["task_id"] for seed in range(20)}) > 5


def test_prometheus_counts_what_was_played(http: httpx.Client) -> None:
    def total() -> float:
        text = http.get("/metrics").text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        return sum(s.value for s in families["assay_openenv_step_seconds"].samples if s.name.endswith("_count"))

    episode_id = http.post("/reset", json={}).json()["metadata"]["episode_id"]
    before = total()
    http.post("/step", json={"action": DESCRIBE, "episode_id": episode_id})
    assert total() == before + 1


@pytest.mark.parametrize("path", ["", "/explore", "/analyst", "/etl"])
def test_openenvs_own_validator_passes_the_running_server(served: Served, path: str) -> None:
    report = validate_running_environment(served.url + path)
    assert report["passed"], report


def test_openenvs_own_validator_passes_the_folder(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "openenv.yaml", tmp_path)
    report = run_validation(tmp_path, max_level=Level.STATIC, skip_build=True)
    assert [(result.check_id, result.status.value) for result in report.results] == [("static.manifest", "pass")]
    declared = report.manifest.capabilities.declared_task_count
    assert declared == {"explore": 100, "analyst": 63, "etl": 37}


@pytest.mark.soak
@pytest.mark.parametrize("target", [["--url", "/"], [".", "--level", "static"], ["."]])
def test_openenvs_own_command_passes(served: Served, target: list[str]) -> None:
    words = [word.replace("/", served.url) for word in target]
    command = [str(Path(sys.executable).parent / "openenv"), "validate", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_of_older_validators_hold() -> None:
    assert validate_multi_mode_deployment(REPOSITORY) == (True, [])


def test_no_request_of_the_openapi_s_or_near_it_is_answered_with_500(served: Served) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    for operation in schema.get_all_operations():
        for mode in GenerationMode:

            @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(operation.ok().as_strategy(generation_mode=mode))
            def fuzz(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=[not_a_server_error])

            with contextlib.suppress(Unsatisfiable):  # nothing about a request without parts can be wrong
                fuzz()
    assert served.floor.seats_taken == 0
