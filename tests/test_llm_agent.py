"""A model plays every environment, in words or with tools, and what it did can be learned from."""

import asyncio
import json
import sys
from collections.abc import Sequence
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter
from rich.console import Console

from cluster.cli import main
from cluster.config import RolloutConfig, TasksConfig
from cluster.estimating import estimates
from cluster.etl.trace import messages_of as etl_messages_of
from cluster.messages import Exporter
from cluster.models import makers_of, settings_of
from cluster.plan import plan_episodes
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.show import episode_view
from cluster.sink import Sink
from services.contracts.actions import Action, Answer, Query
from services.contracts.errors import BadInput
from services.contracts.etl import EtlDecision, EtlObservation, EtlTurn, RunRewrite, Verify
from services.contracts.policy import AnyTurn, Price, Turn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold
from services.grader.grader import GoldGrader
from services.policy.chat import messages_of
from services.policy.llm.prompting import Prompts
from services.policy.llm.settings import ModelSettings
from services.policy.llm.transcript import Transcript, tokens_of
from services.policy.registry import policy_maker
from services.policy.rewriter.registry import etl_policy
from services.sandbox.limits import SandboxLimits
from tests.conftest import Table, address_of
from tests.test_chat import played
from tests.upstream import Upstream, call, completion, upstream

MESSAGES: TypeAdapter[list[ChatCompletionMessageParam]] = TypeAdapter(list[ChatCompletionMessageParam])
COUNT = "SELECT count(*) FROM orders"


class Model:
    """Says these one after the other; a step is a text, or a name and arguments to call."""

    def __init__(self, *steps: str | tuple[str, dict[str, Any]], **beside: str) -> None:
        self._steps = steps
        self._beside = beside

    async def __call__(self, server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        step = self._steps[sum(said["role"] == "assistant" for said in body["messages"])]
        if isinstance(step, str):
            return web.json_response(completion(step, **self._beside))
        called = call(step[0], json.dumps(step[1]))
        return web.json_response(completion(None, tool_calls=[called], **self._beside))


async def run_of(
    model: Model, task_set: TaskSet, task_id: str, settings: ModelSettings, folder: Path
) -> tuple[Trajectory, Upstream, RunFolder]:
    """The episode of a model, the server that it was asked at, and the run that holds it."""
    kept: list[Trajectory] = []

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        kept.extend(trajectories)

    async with Upstream(model).serving() as server:
        name = f"openai:m@{server.url}"
        config = RolloutConfig(
            name="agent",
            tasks=TasksConfig(path=str(task_set.folder)),
            policies=(name,),
            models={name: settings},
            prices={name: Price(prompt=1.0, completion=2.0)},
        )
        specs = [spec for spec in plan_episodes(config, task_set) if spec.task_id == task_id]
        setup = ActorSetup(task_set=address_of(task_set), limits=EpisodeLimits(), sandbox=SandboxLimits())
        actor = EnvActor(setup, makers_of(config), GoldGrader.read, keep)
        await actor.play(specs)
        actor.close()
    run = RunFolder.start(folder / "run", config, task_set, specs, None)
    sink = Sink(run.path, "part")
    sink.append(to_table(kept))
    sink.close()
    return kept[0], server, run


def check_format(line: dict[str, Any]) -> list[dict[str, Any]]:
    """What OpenAI asks of an example: known roles, calls with their results, the assistant's word at the end."""
    assert set(line) <= {"messages", "tools", "parallel_tool_calls"}
    messages: list[dict[str, Any]] = line["messages"]
    MESSAGES.validate_python([{key: said[key] for key in said if key != "weight"} for said in messages])
    assert [said["role"] for said in messages[:2]] == ["system", "user"]
    assert messages[-1]["role"] == "assistant"
    offered = {tool["function"]["name"] for tool in line.get("tools", ())}
    for before, after in pairwise(messages):
        for made in before.get("tool_calls") or ():
            assert made["function"]["name"] in offered
            assert (after["role"], after["tool_call_id"]) == ("tool", made["id"])
        assert after["role"] != "tool" or before.get("tool_calls")
    return messages


@pytest.mark.parametrize("style", ["text", "tools"])
async def test_a_model_explores_and_answers_and_its_run_is_an_example(
    style: Any, builtin: TaskSet, tmp_path: Path
) -> None:
    tools = style == "tools"
    steps: list[Any] = ["Let me look.\nDESCRIBE orders", "hm", f"QUERY {COUNT}", "ANSWER 411"]
    if tools:
        steps = [("describe", {"table": "orders"}), "hm", ("query", {"sql": COUNT}), ("answer", {"value": 411})]
    one, server, run = await run_of(
        Model(*steps, reasoning_content="thought"), builtin, "retail-000", ModelSettings(style=style), tmp_path
    )
    assert (one.verdict, [step.action.kind for step in one.steps]) == (
        "correct",
        ["DESCRIBE", "MALFORMED", "QUERY", "ANSWER"],
    )
    assert [timing.usd for timing in one.timings] == [pytest.approx(120e-6)] * 4
    assert all(timing.reasoning.startswith("thought") for timing in one.timings)
    assert ("tools" in server.bodies[0]) == tools
    assert server.bodies[0]["max_tokens"] == 2048

    screen = Console(width=200, file=StringIO())
    screen.print(episode_view(run.row("")))
    assert "thought" in screen.file.getvalue()  # type: ignore[attr-defined]
    (line,) = Exporter(run, None, reasoning=True).examples({"correct"})
    messages = check_format(json.loads(json.dumps(line)))
    sent = server.bodies[-1]["messages"]
    assert [said["role"] for said in messages[:-1]] == [said["role"] for said in sent]
    assert [said["content"] for said in messages if said["role"] in ("system", "user", "tool")] == [
        said["content"] for said in sent if said["role"] in ("system", "user", "tool")
    ], "what is learned from is what was seen"
    assert [said.get("weight") for said in messages if said["role"] == "assistant"] == [None, 0, None, None]
    assert "thought" in messages[2]["content"]
    (bare,) = Exporter(run, None, reasoning=False).examples({"correct"})
    assert "thought" not in json.dumps(bare)
    assert list(Exporter(run, None, reasoning=True).examples({"incorrect"})) == []


@pytest.mark.parametrize("style", ["text", "tools"])
async def test_a_model_analyses_and_submits(style: Any, named_analyst_set: TaskSet, tmp_path: Path) -> None:
    gold = read_gold(named_analyst_set.gold_path)["fix_broken_join"].gold_sql
    steps: list[Any] = ["```sql\nSELECT 1 AS one\n```", json.dumps({"sql_query": gold, "is_done": True})]
    if style == "tools":
        steps = [("run_sql", {"sql": "SELECT 1 AS one"}), ("submit_sql", {"sql": gold})]
    one, server, run = await run_of(
        Model(*steps), named_analyst_set, "fix_broken_join", ModelSettings(style=style), tmp_path
    )
    assert one.verdict == "correct"
    first, last = server.bodies[0]["messages"][1]["content"], server.bodies[-1]["messages"][-1]["content"]
    assert first.startswith("Question: ")
    assert last == 'Step 1 done. Result, the first rows:\n{"one": 1}'
    (line,) = Exporter(run, None, reasoning=True).examples({"any"})
    check_format(json.loads(json.dumps(line)))


def test_a_model_rewrites_a_job_with_tools_and_in_words() -> None:
    first = EtlObservation(question="q", original=("SELECT 1",), sources="t (a INTEGER): 3 rows", contract="none")
    turn = EtlTurn(job_id="4711", task_key="daily", seed=1, first=first)
    run = RunRewrite(statements=("SELECT 2",), reasoning="cheaper")
    later = turn.model_copy(update={"history": ((run, first.model_copy(update={"result": "1 row"})),)})
    tools = Model(("run", {"statements": ["SELECT 2"]}), ("verify", {}), reasoning_content="cheaper")
    words = Model('cheaper\n{"kind": "RUN", "statements": ["SELECT 2"]}', '{"kind": "VERIFY"}')
    for model, settings in ((tools, None), (words, ModelSettings())):
        with upstream(model) as server:
            policy = etl_policy(f"openai:m@{server.url}", settings, Price(prompt=1.0, completion=2.0))
            decided, after = policy.act(turn), policy.act(later)
        assert isinstance(decided, EtlDecision)
        assert isinstance(after, EtlDecision)
        assert decided.action == run
        assert after.action.kind == Verify().kind
        assert decided.usd == pytest.approx(120e-6)
        assert "The job:\nSELECT 1" in server.bodies[0]["messages"][1]["content"]
        assert server.bodies[1]["messages"][-1]["content"] == "1 row\n(0 steps left)"


def test_the_packaged_prompts_tell_explore_as_a_chat_does(table: Table) -> None:
    turn = played(table, "retail-000", ["DESCRIBE orders", f"QUERY {COUNT}", "what?", "QUERY SELECT nothing"])
    written = Transcript(Prompts(), tools=False, history_tokens=100_000).messages(turn)
    exact = [(said.role, said.content) for said in messages_of(turn)]
    assert [(said["role"], said["content"]) for said in written] == exact


@pytest.mark.parametrize("tools", [False, True])
def test_a_long_history_loses_its_oldest_steps_and_stays_a_chat(tools: bool, table: Table) -> None:
    turn = played(table, "retail-000", ["DESCRIBE orders", *["QUERY SELECT * FROM orders LIMIT 20"] * 10])
    whole = Transcript(Prompts(), tools, history_tokens=10**6).messages(turn)
    part = Transcript(Prompts(), tools, history_tokens=2_000).messages(turn)
    assert tokens_of(part) <= 2_030 < tokens_of(whole)
    assert part[-2:] == whole[-2:]
    assert "(Steps 1 to " in str(part[1]["content"])
    assert [said["role"] for said in part] == [
        "system",
        "user",
        *["assistant", "tool" if tools else "user"] * (len(part) // 2 - 1),
    ]
    assert len(Transcript(Prompts(), tools, history_tokens=200).messages(turn)) == 4, "the newest step is always told"


def test_own_templates_go_before_the_packaged_ones(tmp_path: Path, table: Table) -> None:
    (tmp_path / "explore.first.md.j2").write_text("Hello! {{ question }}")
    turn = played(table, "retail-000", [])
    said = Transcript(Prompts(str(tmp_path)), False, 1000).messages(turn)
    assert said[1]["content"] == f"Hello! {turn.first.question}"
    (tmp_path / "explore.first.md.j2").write_text("{{ gold }}")
    with pytest.raises(BadInput, match=r"explore.first.md.j2 .* 'gold' is undefined"):
        Transcript(Prompts(str(tmp_path)), False, 1000).messages(turn)
    with pytest.raises(BadInput, match="there is no folder"):
        policy_maker("openai:m@http://x/v1", ModelSettings(prompts=str(tmp_path / "none")))


async def test_no_more_requests_are_under_way_than_may_be_and_the_key_is_sent(
    builtin: TaskSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    asked = ModelSettings(requests_at_once=3, key="MY_KEY", requests_per_minute=60_000)
    async with Upstream(Model("ANSWER 1")).serving() as server:
        policy = policy_maker(f"openai:m@{server.url}", asked)()
        turns = [Turn.model_validate({**dict(FIRST_TURN), "seed": seed}) for seed in range(20)]
        decided = await policy.act(turns)  # type: ignore[misc]
    assert len(decided) == 20
    assert server.most_under_way <= 3
    assert set(server.keys) == {"Bearer s3cret"}


def test_a_runs_requests_a_minute_are_shared_among_its_actors() -> None:
    name = "openai:m@http://x/v1"
    config = RolloutConfig(name="x", policies=(name,), models={name: ModelSettings(requests_per_minute=90)})
    assert settings_of(config, name).requests_per_minute == 45


async def test_a_dry_run_estimates_by_an_earlier_run_or_by_the_prompts(builtin: TaskSet, tmp_path: Path) -> None:
    settings = ModelSettings(style="tools")
    steps: list[Any] = [("query", {"sql": COUNT}), ("answer", {"value": "411"})]
    _, _, run = await run_of(Model(*steps), builtin, "retail-000", settings, tmp_path)
    config = run.manifest.config
    specs = plan_episodes(config, builtin)
    (guessed,) = estimates(config, builtin, specs, None)
    (measured,) = estimates(config, builtin, specs, run)
    assert (measured.prompt_tokens, measured.completion_tokens) == (200 * len(specs), 20 * len(specs))
    assert measured.usd == pytest.approx(240e-6 * len(specs))
    assert measured.basis == "means of 1 episodes"
    assert guessed.prompt_tokens > 8 * 300 * len(specs)
    assert "8 steps" in guessed.basis


def spec_of(builtin: TaskSet) -> EpisodeSpec:
    return EpisodeSpec(run_id="r", task_set_hash="h", task_id="retail-000", policy="p", seed=0, sample_index=0)


class Thinking:
    """Answers each turn when the test lets it; notes how many wait at the same time."""

    def __init__(self) -> None:
        self.waiting = self.most = 0

    async def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        raise AssertionError("a policy that can be asked turn by turn is asked so")

    async def decide(self, turn: AnyTurn) -> Action:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        for _ in range(50):
            await asyncio.sleep(0)
        self.waiting -= 1
        return Query(sql=COUNT) if not turn.history else Answer(value="411")


async def test_as_many_episodes_play_at_once_as_the_config_says(builtin: TaskSet) -> None:
    policy, kept = Thinking(), list[Trajectory]()

    async def keep(trajectories: Sequence[Trajectory]) -> None:
        kept.extend(trajectories)

    setup = ActorSetup(
        task_set=address_of(builtin), limits=EpisodeLimits(), sandbox=SandboxLimits(), episodes_at_once=300
    )
    actor = EnvActor(setup, {"p": lambda: policy}, GoldGrader.read, keep)
    await actor.open()
    specs = [spec_of(builtin).model_copy(update={"sample_index": sample}) for sample in range(400)]
    done = await actor.play(specs)
    actor.close()
    assert policy.most == 300
    assert [one.episode_id for one in done] == [spec.episode_id for spec in specs]
    assert {one.verdict for one in kept} == {"correct"}
    assert len(kept) == 400


FIRST_TURN = Turn.model_validate(
    {"task_id": "t", "seed": 1, "first": {"question": "?", "schema_info": "tables: a"}, "history": ()}
)


async def test_the_command_exports_a_run_and_a_rewritten_job(
    builtin: TaskSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def assay(line: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["assay", *line.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    steps = (f"QUERY {COUNT}", "ANSWER 411")
    _, _, run = await run_of(Model(*steps), builtin, "retail-000", ModelSettings(), tmp_path)
    out = tmp_path / "examples.jsonl"
    assert assay(f"export messages {run.path} --out {out} --style tools") == (0, f"1 examples in {out}\n")
    (line,) = map(json.loads, out.read_text().splitlines())
    assert {tool["function"]["name"] for tool in line["tools"]} == {"describe", "sample", "query", "answer"}
    check_format(line)
    code, said = assay(f"export messages {run.path} --out {out}")
    assert (code, "is there already" in said) == (2, True)
    code, said = assay(f"export messages {run.path} --out {out}2 --style prose")
    assert (code, "neither text nor tools" in said) == (2, True)

    first = EtlObservation(question="q", original=("SELECT 1",), sources="t", contract="none")
    history = ((RunRewrite(statements=("SELECT 2",)), first), (Verify(), first))
    turn = EtlTurn(job_id="4711", task_key="daily", seed=1, first=first, history=history)
    job = tmp_path / "job"
    job.mkdir()
    (job / "messages.json").write_text(json.dumps(etl_messages_of(turn)))
    (job / "result.json").write_text('{"verdict": "correct"}')
    assert assay(f"export messages {job} --out {out}3")[0] == 0
    (line,) = map(json.loads, Path(f"{out}3").read_text().splitlines())
    assert [said["role"] for said in check_format(line)] == ["system", "user", "assistant", "tool", "assistant"]
