"""ETL jobs over the wire: whole episodes, the rewards of a direct play, and nothing left of a session that ended."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cluster.etl.optimize import Optimized
from cluster.etl.pinning import Pins, pin_files, tables_of, write_pins
from cluster.etl.regrading import submission_differences
from cluster.etl.serving import EtlServing, jobs_of
from services.contracts.errors import BadInput
from services.contracts.etl import EtlAction, EtlJob, Probe, RunRewrite, Submit, Verify
from services.env_actor.etl.budgets import EtlBudgets
from services.env_actor.etl.episode import EtlEpisode
from services.env_actor.openenv import etl
from services.env_actor.openenv.client import EtlEnv
from services.env_actor.taskset import TaskSet
from services.grader.etl.bench import Bench
from services.grader.etl.grading import SubmissionGrader
from services.grader.runtime.pay import PayRules
from tests.etl_jobs import etl_job, public_folder
from tests.openenv_server import Served, desks, serving, words
from tests.test_nondeterminism_signoff import edit

TABLES = {
    "sales.orders": "SELECT i AS id, i % 50 AS shop, (i * 7919) % 1000 AS cents FROM range(4000) r(i)",
    "sales.shops": "SELECT i AS shop, 'city ' || i % 9 AS city FROM range(50) r(i)",
}
ORIGINAL = (
    "CREATE TABLE sales.daily AS SELECT s.city, count(*) AS orders, sum(o.cents) AS cents FROM sales.orders o "
    "JOIN sales.shops s ON o.shop = s.shop WHERE (SELECT count(*) FROM sales.orders p WHERE p.id <= o.id) >= 0 "
    "GROUP BY s.city"
)
RIGHT = (
    "CREATE TABLE sales.daily AS SELECT s.city, count(*) AS orders, sum(o.cents) AS cents FROM sales.orders o "
    "JOIN sales.shops s ON o.shop = s.shop GROUP BY s.city"
)
WRONG = RIGHT.replace("count(*)", "count(*) + 1")
RULES = PayRules(mode="helios_gate")
SLOW = "SELECT count(*) FROM sales.orders a, sales.orders b, sales.orders c WHERE a.id + b.id * c.id = -1"


@pytest.fixture(scope="module")
def job() -> Iterator[EtlJob]:
    folder = public_folder()
    yield etl_job(folder, (ORIGINAL,), TABLES)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def serves(job: EtlJob, tmp_path_factory: pytest.TempPathFactory) -> EtlServing:
    """One job, paid by a gate, so that one reward is right however the machine's day is."""
    folder = tmp_path_factory.mktemp("etl")
    write_pins(Pins(job=job, files=pin_files(tables_of(job))), folder / "pins.json")
    return EtlServing(jobs=(folder / "pins.json",), rules=RULES, out=folder / "out")


@pytest.fixture(scope="module")
def served(builtin: TaskSet, named_analyst_set: TaskSet, serves: EtlServing) -> Iterator[Served]:
    with serving(builtin, named_analyst_set, etl=serves, default="etl") as server:
        yield server


def play_directly(job: EtlJob, actions: list[EtlAction]) -> EtlEpisode:
    with closing(Bench(SubmissionGrader(job, rules=RULES))) as bench:
        episode = EtlEpisode(job, bench, EtlBudgets())
        for action in actions:
            episode.apply(action)
    return episode


def test_a_job_that_rests_on_a_person_s_word_is_not_trained_on(tmp_path: Path) -> None:
    folder = public_folder()
    picked = "CREATE TABLE sales.daily AS SELECT shop, any_value(cents) AS cents FROM sales.orders GROUP BY shop"
    job = etl_job(folder, (picked,), TABLES)
    write_pins(Pins(job=job, files=pin_files(tables_of(job))), tmp_path / "pins.json")
    serves = EtlServing(jobs=(tmp_path / "pins.json",))
    with pytest.raises(BadInput, match="sign"):
        jobs_of(serves)
    (file,) = tmp_path.glob("*.sign-offs.yaml")
    edit(file, cents="any of them")
    with pytest.raises(BadInput, match=r"cannot be trained on: column cents \(B"):
        jobs_of(serves)
    shutil.rmtree(folder)


def actions_with(statement: str) -> list[EtlAction]:
    look = Probe(sql="SELECT * FROM sales.shops ORDER BY shop LIMIT 2")
    return [
        Verify(),
        look,
        RunRewrite(statements=(statement,), reasoning="count >= 0"),
        Verify(),
        Submit(),
    ]


def pries(job: EtlJob) -> list[EtlAction]:
    """What an agent asks that looks for what is not its own."""
    after = job.after.files[0]
    probes = ("FROM sales.daily", f"FROM read_parquet('{after}')", "FROM glob('/tmp/**')", "FROM duckdb_databases()")
    stolen = RunRewrite(statements=(f"CREATE TABLE sales.daily AS FROM '{after}'",))
    return [*(Probe(sql=sql) for sql in probes), stolen]


def test_the_official_client_is_paid_nothing_for_what_is_not_equal_and_sees_nothing_of_productions_output(
    served: Served, serves: EtlServing, job: EtlJob
) -> None:
    actions = actions_with(WRONG)
    played = play_directly(job, actions)
    with EtlEnv(served.url).sync() as env:
        first = env.reset(task_id="daily", seed=5)
        assert (first.observation.original, first.observation.budget_remaining) == ([ORIGINAL], 60)
        assert "sales.orders (id BIGINT" in first.observation.sources
        pried = [env.step(etl.EtlAction(**action.model_dump(mode="json"))) for action in pries(job)]
        told = [env.step(etl.EtlAction(**action.model_dump(mode="json"))) for action in actions]
        state = env.state()
    assert all(each.observation.error and each.reward == 0.0 for each in pried)
    assert [each.reward for each in told] == [0.0, 0.0, 0.0, 0.0, played.reward()] == [0.0] * 5
    assert (told[-1].done, told[-1].metadata["verdict"]) == (True, played.verdict()) == (True, "incorrect")
    assert (state.step_count, state.reward, state.task_id, state.seed) == (10, 0.0, "daily", 5)
    for number in (0, 1, 3, 4):
        seen, reply = told[number].observation, played.steps[number].reply
        assert (seen.result, seen.error) == (reply.text, reply.error)
    said = "".join(each.model_dump_json() for each in (first.observation, *(e.observation for e in (*pried, *told))))
    assert "after.parquet" not in said.replace(job.after.files[0], "")
    assert "city 2" not in said  # not of the two rows of the sources that were asked for
    assert "different: 9 and 9 rows" in said
    assert [submission_differences(kept) for kept in graded(serves)] == [()]


def graded(serves: EtlServing) -> list[Path]:
    """The folders of graded episodes, the latest first."""
    assert serves.out is not None
    return sorted(serves.out.iterdir(), key=lambda folder: -folder.stat().st_mtime_ns)


@pytest.mark.soak
def test_a_rewrite_is_paid_as_in_an_episode_in_this_process_and_its_reward_is_derived_again(
    served: Served, serves: EtlServing, job: EtlJob
) -> None:
    actions = actions_with(RIGHT)
    played = play_directly(job, actions)
    with EtlEnv(served.url).sync() as env:
        env.reset(task_id="daily")
        told = [env.step(etl.EtlAction(**action.model_dump(mode="json"))) for action in actions]
    assert [each.reward for each in told] == [0.0, 0.0, 0.0, 0.0, played.reward()] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert (told[-1].done, told[-1].metadata["verdict"]) == (True, played.verdict()) == (True, "correct")
    assert told[-1].metadata["lower_bound"] > 1.2
    assert told[-1].observation.best.startswith("step 3: equal")
    assert submission_differences(graded(serves)[0]) == ()
    assert Optimized.model_validate_json((graded(serves)[0] / "result.json").read_bytes()).reward == 1.0


def test_a_session_that_works_keeps_nobody_waiting_and_leaves_nothing_when_it_is_gone(
    served: Served, builtin: TaskSet
) -> None:
    with served.socket("/etl/ws") as bare:
        episode_id = bare.ask("reset", task_id="daily")["data"]["metadata"]["episode_id"]
        bare.ask("step", kind="RUN", statements=[RIGHT])
        bare.connection.send(json.dumps({"type": "step", "data": {"kind": "PROBE", "sql": SLOW}}))
        served.until(lambda: len(desks()) >= 4)
        folders = {Path(word) for process in desks() for word in words(process)[-1:] if "assay-desk-" in word}
        assert folders
        with served.socket("/explore/ws") as other:
            assert other.ask("reset", task_id="retail-000")["type"] == "observation"
            assert other.step("QUERY", "SELECT count(*) FROM orders")["data"]["observation"]["error"] == ""
        bare.connection.socket.shutdown(2)
    served.until(lambda: served.floor.seats_taken == 0 and not desks())
    served.until(lambda: not any(folder.exists() for folder in folders))
    with served.socket(f"/etl/ws?episode_id={episode_id}") as bare:
        assert bare.ask("state")["data"]["step_count"] == 1
        verified = bare.ask("step", kind="VERIFY")["data"]["observation"]
        assert verified["result"].startswith("equal: 9 and 9 rows")
        assert verified["step_count"] == 2
        bare.ask("step", kind="RUN", statements=[WRONG])
        last = bare.ask("step", kind="SUBMIT")["data"]
        assert (last["done"], last["reward"], last["metadata"]["verdict"]) == (True, 0.0, "incorrect")
        assert bare.ask("step", kind="VERIFY")["data"]["message"] == "the episode is over: reset first"
    served.until(lambda: not desks())


def test_a_mistake_is_told_and_costs_a_step_and_what_has_no_sense_is_an_error(served: Served) -> None:
    with served.socket("/ws") as bare:
        bare.ask("reset", seed=3)
        for fields, part in (
            ({"kind": "UPDATE_JOB", "sql": "4711"}, "the production job is frozen"),
            ({"kind": "SING"}, "no action: "),
            ({"kind": "RUN"}, "statements"),
        ):
            assert part in bare.ask("step", **fields)["data"]["observation"]["error"]
        for wrong in ({"kind": 5}, {"kind": "RUN", "statements": "x"}, {"kind": "VERIFY", "job_id": 4711}):
            assert bare.ask("step", **wrong)["data"]["code"] == "VALIDATION_ERROR"
        assert bare.ask("state")["data"]["step_count"] == 3
        assert not desks()
