"""The analyst from the config to the regrade: the same player, sink, Parquet, report and evaluation as any other."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from cluster.config import RolloutConfig, TasksConfig
from cluster.evaluation.attempts import read_attempts
from cluster.evaluation.oracle import write_oracle
from cluster.evaluation.results import make_evaluation
from cluster.interactive import play as play_task
from cluster.plan import plan_episodes
from cluster.regrade import Regrader, RegradeSummary
from cluster.report import make_report
from cluster.rollout import prepare
from cluster.run import RunFolder
from cluster.schema import SCHEMA, STEP, action_of, check_version, step_of, to_table
from cluster.show import episode_view
from cluster.sink import TRAJECTORIES, Sink
from services.contracts.actions import SQLAction
from services.contracts.errors import BadInput
from services.contracts.grading import ANALYST_COMPONENTS
from services.contracts.policy import AnalystTurn
from services.contracts.tasks import EpisodeLimits
from services.contracts.trajectory import Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.chat import messages_of, read_reply, turn_of, write_action
from services.policy.heuristic import HeuristicPolicy
from services.policy.random import RandomPolicy
from services.policy.registry import policy_maker
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from tests.analyst_table import AnalystTable
from tests.conftest import address_of

Row = dict[str, Any]
NEW = (*ANALYST_COMPONENTS, "is_done", "score", "trials_json")


@pytest.fixture(scope="module")
def played(analyst_set: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of the random policy, the oracle, and one that scores on the way, played without Ray."""
    folder = tmp_path_factory.mktemp("analyst")
    oracle, clumsy = folder / "oracle.jsonl", folder / "clumsy.jsonl"
    write_oracle(analyst_set, oracle)
    scripts = [json.loads(line) for line in oracle.read_text().splitlines()]
    for script in scripts:
        gold = json.loads(script["actions"][0])["sql_query"]
        script["actions"] = ["SELEC 1", gold.replace("DISTINCT ", ""), "SELECT count(*) FROM range(3)", f"DONE {gold}"]
    clumsy.write_text("".join(json.dumps(script) + "\n" for script in scripts))
    config = RolloutConfig(
        name="analyst",
        tasks=TasksConfig(path=str(analyst_set.folder)),
        policies=("random", f"scripted:{oracle}", f"scripted:{clumsy}"),
        limits=EpisodeLimits(budget=10),
    )
    specs = plan_episodes(config, analyst_set)
    run = RunFolder.start(folder / "run", config, analyst_set, specs, None)

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        if trajectories:
            sink = Sink(run.path, "part-a")
            sink.append(to_table(trajectories))
            sink.close()

    async def rollout() -> None:
        setup = ActorSetup(task_set=address_of(analyst_set), limits=config.limits, sandbox=config.sandbox)
        policies = {name: policy_maker(name) for name in config.policies}
        actor = EnvActor(setup, policies, GoldGrader.read, deliver)
        await actor.play(specs)
        actor.close()

    asyncio.run(rollout())
    run.check_complete(specs)
    return run


def regrade(run: RunFolder) -> RegradeSummary:
    return asyncio.run(Regrader(run).regrade(lambda done: None))


def rows(run: RunFolder) -> list[Row]:
    return [row for path in run.files() for row in pq.read_table(path).to_pylist()]


def test_the_report_has_the_components_of_the_environment(played: RunFolder) -> None:
    report = make_report(played)
    assert (report.graded, report.faulted) == (27, 0)
    by_policy = {part.policy.rpartition("/")[2]: part for part in report.policies}
    assert tuple(by_policy["random"].components) == ANALYST_COMPONENTS
    assert (by_policy["oracle.jsonl"].success_rate, by_policy["oracle.jsonl"].reward) == (1.0, 1.0)
    assert by_policy["clumsy.jsonl"].reward == pytest.approx(0.9)
    assert by_policy["random"].success_rate == 0.0


def test_an_evaluation_compares_policies_as_it_does_for_explore(played: RunFolder, analyst_set: TaskSet) -> None:
    evaluation = make_evaluation(played, analyst_set)
    assert all(tuple(figures.components) == ANALYST_COMPONENTS for figures in evaluation.policies)
    assert {one.value for one in evaluation.slices if one.dimension == "environment"} == {"analyst"}
    assert len(evaluation.comparisons) == 3


def test_a_regrade_derives_every_reward_again(played: RunFolder) -> None:
    summary = regrade(played)
    assert (summary.episodes, summary.graded, summary.differences) == (27, 27, ())


def altered(run: RunFolder, to: Path, change: Callable[[Row], None]) -> RunFolder:
    """A copy of the run with each row changed."""
    (to / TRAJECTORIES).mkdir(parents=True)
    (to / "manifest.json").write_text((run.path / "manifest.json").read_text())
    found = rows(run)
    for row in found:
        change(row)
    pq.write_table(pa.Table.from_pylist(found, schema=SCHEMA), to / TRAJECTORIES / "part.parquet")
    return RunFolder.open(to)


def test_a_regrade_finds_what_was_altered(played: RunFolder, tmp_path: Path) -> None:
    def pay_more(row: Row) -> None:
        row["steps"][-1]["score"] = 0.9
        row["steps"][-1]["trials_json"] = "[]"

    found = {difference.where for difference in regrade(altered(played, tmp_path / "a", pay_more)).differences}
    assert found == {where for where in found if where.endswith("score")}
    assert found


def test_a_recorded_limit_of_a_trial_is_taken_as_given(played: RunFolder, tmp_path: Path) -> None:
    def time_out(row: Row) -> None:
        for step in row["steps"]:
            if step["trials_json"] is not None:
                notes = json.loads(step["trials_json"])
                step["trials_json"] = json.dumps([note | {"outcome": "timeout"} for note in notes])

    summary = regrade(altered(played, tmp_path / "b", time_out))
    assert summary.taken_as_given["limit of a trial: timeout"] > 0
    assert {d.stored for d in summary.differences if d.where == "verdict"} == {"correct"}


def test_rows_of_a_hidden_copy_are_not_stored(played: RunFolder, analyst: AnalystTable) -> None:
    stored = [row for row in rows(played) if row["task_id"] == "fix_broken_join"]
    gold = analyst.golds["fix_broken_join"]
    assert gold.analyst is not None
    text = json.dumps(stored, default=str)
    for copy in gold.analyst.copies:
        hidden = [row for row in copy.rows if row not in gold.rows()]
        assert hidden
        assert not any(json.dumps(row)[1:-1] in text.replace('\\"', '"') for row in hidden)


def test_a_stored_step_comes_back_as_it_was(played: RunFolder) -> None:
    (row,) = [row for row in rows(played) if "clumsy" in str(row["policy"]) and row["task_id"] == "churn_analysis"][:1]
    steps = [step_of(step) for step in row["steps"]]
    assert [isinstance(step.action, SQLAction) for step in steps] == [True] * 4
    assert [action_of(step).is_done for step in row["steps"]] == [False, False, False, True]
    assert steps[0].components.invalid == -0.1
    assert (steps[0].score, steps[0].trials) == (None, None)
    assert [note.purpose for note in steps[3].trials or ()] == ["copy", "copy", "cost"]
    check_version(str(row["schema_version"]))


def test_an_episode_can_be_looked_at(played: RunFolder) -> None:
    shown = _plain(next(row for row in rows(played) if "clumsy" in str(row["policy"])))
    assert "invalid -0.100" in shown
    assert "score 1.00" in shown
    assert "DONE SELECT" in shown


def _plain(row: Row) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(episode_view(row))
    return captured.get()


def test_a_person_can_play(analyst_set: TaskSet, analyst: AnalystTable) -> None:
    lines = iter(["SELECT 1", f"DONE {analyst.gold('churn_analysis')}"])
    said: list[str] = []
    task = analyst_set.tasks["churn_analysis"]
    episode = play_task(analyst_set, task, lambda prompt: next(lines), said.append)
    assert (episode.verdict(), episode.reward()) == ("correct", 1.0)
    assert '"customer_id": "INTEGER"' in said[0]


def test_an_analysts_turn_comes_back_from_its_messages(analyst: AnalystTable) -> None:
    episode = analyst.start("churn_analysis")
    turn = episode.turn(7)
    for sql in ("SELEC 1", "SELECT 1 AS a", "SELECT 'ü' "):
        action = SQLAction(sql_query=sql)
        outcome = analyst.run(analyst.task_set.tasks["churn_analysis"].database, sql)
        turn = turn.then(action, episode.apply(action, outcome))
    back = turn_of(messages_of(turn), 7, "ignored")
    assert back == turn
    assert isinstance(back, AnalystTurn)
    for action in (SQLAction(sql_query=" a\n", is_done=True), SQLAction(sql_query="")):
        assert read_reply(write_action(action), turn) == action
    assert read_reply('```json\n{"sql_query": "SELECT 1", "is_done": true}\n```', turn).is_done


def test_a_policy_that_plays_explore_only_says_so(analyst: AnalystTable) -> None:
    turn = analyst.start("churn_analysis").turn(1)
    with pytest.raises(BadInput, match="heuristic plays explore tasks only"):
        HeuristicPolicy().act([turn])
    (action,) = RandomPolicy().act([turn])
    assert isinstance(action, SQLAction)
    assert RandomPolicy().act([turn]) == [action]


def test_costs_of_another_engine_are_refused_and_never_compared(analyst: AnalystTable) -> None:
    gold = analyst.golds["churn_analysis"]
    assert gold.analyst is not None
    assert gold.analyst.cost is not None
    other = gold.analyst.cost.model_copy(update={"engine": "0.0.1"})
    part = gold.analyst.model_copy(update={"cost": other})
    golds = analyst.golds | {"churn_analysis": gold.model_copy(update={"analyst": part})}
    table = AnalystTable(analyst.task_set, golds, GoldGrader(golds), analyst.pool, analyst.runner)
    with pytest.raises(BadInput, match="make it again"):
        table.score("churn_analysis", gold.gold_sql)


def test_the_sandbox_limits_hold_for_profiles_too(analyst_set: TaskSet) -> None:
    slow = "SELECT count(*) FROM range(100000) a, range(100000) b WHERE (a.range * b.range) % 7 = 3"

    async def profiled() -> str:
        name = next(iter(analyst_set.manifest.databases))
        async with SandboxPool({name: analyst_set.database_path(name)}, SandboxLimits(statement_s=0.2)) as pool:
            found = await pool.profile(name, slow)
            again = await pool.profile(name, "SELECT 1 FROM nowhere")
            return f"{found.kind} {getattr(found, 'reason', '')} {again.kind}"

    assert asyncio.run(profiled()) == "limit timeout sql_error"


def test_a_policy_that_cannot_play_the_tasks_is_refused_before_anything_is_written(analyst_set: TaskSet) -> None:
    config = RolloutConfig(name="x", tasks=TasksConfig(path=str(analyst_set.folder)), policies=("heuristic",))
    with pytest.raises(BadInput, match="heuristic plays explore tasks only"):
        prepare(config, analyst_set, None)


def test_rows_of_the_schema_before_the_analyst_are_read_beside_new_ones(builtin: TaskSet, tmp_path: Path) -> None:
    config = RolloutConfig(name="old", tasks=TasksConfig(path=str(builtin.folder)), policies=("random",))
    specs = plan_episodes(config, builtin)[:12]
    run = RunFolder.start(tmp_path / "run", config, builtin, specs, None)

    played: list[Trajectory] = []

    async def deliver(trajectories: Sequence[Trajectory]) -> None:
        played.extend(trajectories)

    async def rollout() -> None:
        setup = ActorSetup(task_set=address_of(builtin), limits=config.limits, sandbox=config.sandbox)
        actor = EnvActor(setup, {"random": RandomPolicy}, GoldGrader.read, deliver)
        await actor.play(specs)
        actor.close()

    asyncio.run(rollout())
    table = to_table(played)
    pq.write_table(_as_before(table[:6]), run.path / TRAJECTORIES / "part-a.parquet")
    pq.write_table(table[6:], run.path / TRAJECTORIES / "part-b.parquet")
    assert make_report(run).graded == 12
    assert len(read_attempts(run)) == 12
    assert regrade(run).differences == ()


def _as_before(table: pa.Table) -> pa.Table:
    """The rows as version 1.0 wrote them."""
    step = pa.struct([field for field in STEP if field.name not in NEW])
    fields = [pa.field("steps", pa.list_(step), False) if field.name == "steps" else field for field in SCHEMA]
    schema = pa.schema([field for field in fields if field.name not in NEW])
    return pa.Table.from_pylist([row | {"schema_version": "1.0"} for row in table.to_pylist()], schema=schema)
