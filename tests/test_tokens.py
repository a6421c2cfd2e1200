"""Tokens that a model's server counts are kept with each step, and an evaluation says what they cost."""

import json
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cluster.config import RolloutConfig, load_config
from cluster.evaluation.attempts import read_attempts
from cluster.evaluation.figures import overall
from cluster.evaluation.outliers import dearest
from cluster.plan import plan_episodes
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.sink import Sink
from services.contracts.errors import BadInput
from services.contracts.policy import Price
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.registry import policy_maker
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of

ROOT = Path(__file__).parents[1]
USAGES = {
    "counting": {"prompt_tokens": 1200, "completion_tokens": 30, "total_tokens": 1230},
    "silent": None,
    "lying": {"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": 0},
}


class Model(BaseHTTPRequestHandler):
    """Looks once and answers; what it says of tokens is by the model's name."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = "ANSWER 1" if len(asked["messages"]) > 2 else "SAMPLE nothing"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        reply: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 1, "model": asked["model"]}
        body = json.dumps(reply | {"choices": [choice], "usage": USAGES[asked["model"]]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


async def test_tokens_are_kept_by_step_and_costs_follow_from_a_price(
    url: str, builtin: TaskSet, tmp_path: Path
) -> None:
    names = tuple(f"openai:{model}@{url}" for model in USAGES)
    prices = {names[0]: Price(prompt=2.0, completion=10.0)}
    config = RolloutConfig(name="tokens", policies=names, prices=prices)
    specs = [spec for spec in plan_episodes(config, builtin) if spec.task_id == "retail-000"]
    kept: list[Trajectory] = []

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        kept.extend(trajectories)

    setup = ActorSetup(task_set=address_of(builtin), limits=EpisodeLimits(), sandbox=SandboxLimits())
    actor = EnvActor(setup, {name: policy_maker(name) for name in names}, GoldGrader.read, keep)
    await actor.play(specs)
    actor.close()
    rows = {row["policy"]: row["timings"] for row in to_table(kept).to_pylist()}
    assert [rows[name]["prompt_tokens"] for name in names] == [[1200] * 2, None, None]
    assert [rows[name]["completion_tokens"] for name in names] == [[30] * 2, None, None]

    run = RunFolder.start(tmp_path / "run", config, builtin, specs, None)
    sink = Sink(run.path, "part")
    sink.append(to_table(kept))
    sink.close()
    attempts = read_attempts(run)
    counting, *others = sorted(overall(attempts, prices), key=lambda one: one.spending is None)
    assert [one.spending for one in others] == [None, None]
    assert counting.spending is not None
    assert (counting.spending.prompt_tokens, counting.spending.completion_tokens) == (2400, 60)
    assert counting.spending.usd == pytest.approx(2400 * 2e-6 + 60 * 10e-6)
    assert [one.usd for one in dearest(attempts, prices) if one.policy == names[0]] == [counting.spending.usd]


def test_prices_of_a_policy_that_does_not_play_are_refused_and_others_change_no_hash() -> None:
    path = ROOT / "configs" / "models.yaml"
    priced = load_config(path)
    assert priced.prices
    assert priced.config_hash() == priced.model_copy(update={"prices": {}}).config_hash()
    with pytest.raises(BadInput, match="prices: gpt is none of the policies"):
        load_config(path, ["prices.gpt.prompt=1", "prices.gpt.completion=1"])
