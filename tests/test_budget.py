"""A run asks its models until its budget is spent, and no further; what was not played is named, and can be resumed."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.config import ActorsConfig, BudgetConfig, RolloutConfig, TasksConfig
from cluster.purse import Purse, Spent, read_spending
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder
from cluster.session import ray_session
from services.contracts.errors import BadInput, OverBudget
from services.contracts.policy import Price, Usage
from services.env_actor.taskset import TaskSet
from services.policy.llm.metering import Freely, Question
from tests.upstream import USAGE, Upstream, says, upstream

EPISODES, CALLS = 12, 2
TOKENS = CALLS * USAGE["total_tokens"]
"""What an episode takes."""


def purse(tmp_path: Path, tokens: int | None = None, dollars: float | None = None) -> Purse:
    return Purse(BudgetConfig(tokens=tokens, dollars=dollars), {"m": Price(prompt=1.0, completion=2.0)}, tmp_path)


@pytest.mark.parametrize("asking", [1, 7, 100])
async def test_no_more_is_spent_than_may_be_however_many_ask_at_once(asking: int, tmp_path: Path) -> None:
    """A server that takes six tokens for a byte, which nobody could know before its first answer."""
    filled = purse(tmp_path, tokens=50_000)
    under_way = most = 0

    async def ask() -> None:
        nonlocal under_way, most
        while True:
            number = await filled.reserve("m", Question(prompt_bytes=100, reply_tokens=50))
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            await filled.settle(number, Usage(prompt_tokens=600, completion_tokens=20), asked=True)

    ended = await asyncio.gather(*(ask() for _ in range(asking)), return_exceptions=True)
    assert {type(error) for error in ended} == {OverBudget}
    assert "50000 tokens" in (filled.close() or "")
    assert 50_000 - 650 < read_spending(tmp_path).tokens <= 50_000
    assert most == min(asking, (50_000 - 620) // 650)


async def test_the_first_question_of_a_model_goes_alone(tmp_path: Path) -> None:
    filled = purse(tmp_path, tokens=10**6)
    question = Question(prompt_bytes=100, reply_tokens=50)
    first = await filled.reserve("m", question)
    second = asyncio.create_task(filled.reserve("m", question))
    other = await filled.reserve("another", question)
    assert not second.done()
    await filled.settle(first, Usage(prompt_tokens=30, completion_tokens=1), asked=True)
    await asyncio.wait_for(second, 10)
    await filled.settle(other, None, asked=True)


async def test_money_counts_as_tokens_do_and_what_nobody_counted_is_taken_to_be_reserved(tmp_path: Path) -> None:
    filled = purse(tmp_path, dollars=0.001)  # 1,000 tokens read, or 500 written
    number = await filled.reserve("m", Question(prompt_bytes=100, reply_tokens=100))
    assert await filled.settle(number, Usage(prompt_tokens=20, completion_tokens=10), asked=True) == pytest.approx(4e-5)
    number = await filled.reserve("m", Question(prompt_bytes=100, reply_tokens=100))
    assert await filled.settle(number, None, asked=True) is None
    number = await filled.reserve("m", Question(prompt_bytes=100, reply_tokens=100))
    assert await filled.settle(number, None, asked=False) is None
    filled.close()
    assert read_spending(tmp_path).usd == pytest.approx(4e-5 + 20e-6 + 200e-6)
    with pytest.raises(OverBudget, match=r"\$0.0003 of \$0.0010"):
        await filled.reserve("m", Question(prompt_bytes=100, reply_tokens=1000))
    with pytest.raises(OverBudget):
        await filled.reserve("m", Question(prompt_bytes=1, reply_tokens=1))


async def test_who_reserved_and_died_holds_nobody_up_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.purse.FORGET_S", 0.05)
    filled = purse(tmp_path, tokens=250)
    await filled.reserve("m", Question(prompt_bytes=100, reply_tokens=100))
    await asyncio.wait_for(filled.reserve("m", Question(prompt_bytes=100, reply_tokens=50)), 10)
    filled.close()
    assert read_spending(tmp_path).tokens == 150


async def test_a_run_without_a_budget_knows_its_prices() -> None:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=500_000)
    assert await Freely(Price(prompt=1.0, completion=2.0)).settle(0, usage, True) == 2.0
    assert await Freely().settle(0, usage, True) is None


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_session():
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream(says("QUERY SELECT count(*) FROM orders", "ANSWER 411")) as server:
        yield server


def config_of(server: Upstream, builtin: TaskSet, **budget: float) -> RolloutConfig:
    name = f"openai:m@{server.url}"
    return RolloutConfig.model_validate(
        {
            "name": "budget",
            "tasks": TasksConfig(path=str(builtin.folder)),
            "policies": (name, "random"),
            "seed": 3,
            "prices": {name: Price(prompt=1.0, completion=2.0)},
            "models": {name: {"reply_tokens": 40}},
            "budget": budget,
            "actors": ActorsConfig(count=1, cpus=0.5, memory_mb=512, batch=4, episodes_at_once=2),
        }
    )


def test_a_run_stops_at_its_budget_names_what_is_left_and_resumes_with_more(
    cluster: None, server: Upstream, builtin: TaskSet, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    small = config_of(server, builtin, tokens=5 * TOKENS)
    prepared = prepare(small, builtin, 2 * EPISODES)
    run = RunFolder.start(path, small, builtin, prepared.specs, 2 * EPISODES)
    with pytest.raises(OverBudget) as ended:
        run_rollout(prepared, run, lambda done: None)
    told = re.match(
        r"the budget is spent: (\d+) of 1100 tokens; (\d+) of 24 episodes were not played", str(ended.value)
    )
    assert told is not None
    spent, left = map(int, told.groups())
    assert spent == server.asked["m"] * USAGE["total_tokens"] <= 5 * TOKENS
    assert EPISODES - 5 <= left < EPISODES
    assert sum(run.episodes().values()) == 2 * EPISODES - left, "the policy that costs nothing is played to the end"
    assert all(spec.episode_id in str(ended.value) for spec in prepared.specs if spec.episode_id not in run.episodes())

    enough = config_of(server, builtin, tokens=20 * TOKENS, dollars=1.0)
    again = prepare(enough, builtin, 2 * EPISODES)
    report = run_rollout(again, RunFolder.resume(path, enough, builtin, 2 * EPISODES), lambda done: None)
    assert (report.planned, report.graded, report.faulted) == (2 * EPISODES, 2 * EPISODES, 0)
    whole = read_spending(path)
    assert whole.tokens == server.asked["m"] * USAGE["total_tokens"]
    timings = [row for file in run.files() for row in pq.read_table(file)["timings"].to_pylist()]
    usd = [cost for row in timings for cost in row["usd"] or ()]
    assert usd == [pytest.approx(120e-6)] * (EPISODES * CALLS)
    assert whole.usd == pytest.approx(server.asked["m"] * 120e-6)


def test_a_budget_in_dollars_needs_prices_and_a_damaged_ledger_is_one_line(
    server: Upstream, builtin: TaskSet, tmp_path: Path
) -> None:
    config = config_of(server, builtin)
    with pytest.raises(ValueError, match="has no price under prices"):
        RolloutConfig.model_validate(config.model_dump() | {"prices": {}, "budget": {"dollars": 1}})
    with pytest.raises(ValueError, match="models: random is no model"):
        RolloutConfig.model_validate(config.model_dump() | {"models": {"random": {}}})
    (tmp_path / "spending.json").write_text(json.dumps({"tokens": -1}))
    with pytest.raises(BadInput, match=r"spending.json is damaged"):
        read_spending(tmp_path)
    assert read_spending(tmp_path / "nothing") == Spent()
