"""An ETL episode: what it costs, how it ends, and that a broken machine leaves no grade."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.etl.optimize import Asked, play
from cluster.etl.pinning import Pins
from services.contracts.errors import BadInput
from services.contracts.etl import (
    BenchReply,
    EtlAction,
    EtlGrade,
    EtlJob,
    EtlMalformed,
    EtlTurn,
    Probe,
    ReadyProbe,
    RunRewrite,
    Submit,
    Verify,
)  # fmt: skip
from services.contracts.etl_parsing import parse_etl_action
from services.contracts.frozen import FrozenJob
from services.env_actor.etl.budgets import EtlBudgets
from services.env_actor.etl.episode import EtlEpisode
from services.env_actor.etl.probes import probe_sql
from services.grader.etl.bench import Bench
from services.grader.runtime.faults import TimingFault
from tests.etl_jobs import ORIGINAL, etl_job, grader_here, public_folder

WRONG = ORIGINAL.replace("count(*)", "7")


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeBench:
    """A bench whose every answer takes ten seconds and reads a hundred bytes (protocol: EtlBench)."""

    def __init__(self, clock: Clock, equal: bool = True) -> None:
        self._clock = clock
        self._equal = equal
        self.submitted: list[tuple[str, ...]] = []

    def _reply(self, text: str, equal: bool | None = None) -> BenchReply:
        self._clock.now += 10.0
        return BenchReply(text=text, cpu_s=0.5, bytes_read=100, equal=equal)

    def explain(self, sql: str) -> BenchReply:
        return self._reply("plan")

    def analyze(self, sql: str) -> BenchReply:
        return self._reply("profile")

    def probe(self, sql: str) -> BenchReply:
        return self._reply(sql)

    def run(self, statements: tuple[str, ...]) -> BenchReply:
        return BenchReply(error="no") if statements == ("bad",) else self._reply("ran")

    def verify(self) -> BenchReply:
        return self._reply("equal" if self._equal else "different", self._equal)

    def submit(self, statements: tuple[str, ...]) -> EtlGrade:
        self.submitted.append(statements)
        return EtlGrade(verdict="correct", reward=0.75, equal=True, reason="equal")


@pytest.fixture(scope="module")
def job() -> Iterator[EtlJob]:
    folder = public_folder()
    yield etl_job(folder)
    shutil.rmtree(folder)


def episode(job: EtlJob, equal: bool = True, **budgets: float) -> tuple[EtlEpisode, FakeBench]:
    clock = Clock()
    bench = FakeBench(clock, equal)
    return EtlEpisode(job, bench, EtlBudgets.model_validate(budgets), clock), bench


def test_the_reward_is_the_grade_s_and_what_ran_last_is_submitted(job: EtlJob) -> None:
    played, bench = episode(job)
    for action in (RunRewrite(statements=("a",)), RunRewrite(statements=("b",)), Verify(), Submit()):
        assert not played.over
        played.apply(action)
    assert (played.over, played.verdict(), played.reward()) == (True, "correct", 0.75)
    assert bench.submitted == [("b",)]
    assert played.steps[2].observation.best == "step 2: equal, 0.500 CPU s in one run"
    with pytest.raises(ValueError, match="over"):
        played.apply(Verify())


def test_a_rewrite_that_did_not_run_cannot_be_submitted(job: EtlJob) -> None:
    played, bench = episode(job)
    assert played.apply(Submit()).reply.error == "nothing to submit: RUN a rewrite first"
    played.apply(RunRewrite(statements=("a",)))
    played.apply(RunRewrite(statements=("bad",)))
    assert played.apply(Submit()).reply.error
    assert (played.over, bench.submitted) == (False, [])


@pytest.mark.parametrize(
    ("budgets", "steps", "truncation", "verdict"),
    [
        ({"steps": 3}, 3, "steps", "no_submission"),
        ({"wall_s": 15.0}, 2, "wall", "resource_exceeded"),
        ({"read_bytes": 350}, 4, "bytes", "resource_exceeded"),
    ],
)
def test_every_budget_ends_an_episode(
    job: EtlJob, budgets: dict[str, float], steps: int, truncation: str, verdict: str
) -> None:
    played, _ = episode(job, **budgets)
    while not played.over:
        played.apply(Probe(sql="SELECT 1"))
    assert (len(played.steps), played.truncation, played.verdict()) == (steps, truncation, verdict)
    assert played.reward() == 0.0


def test_a_mistake_costs_a_step(job: EtlJob) -> None:
    played, _ = episode(job, steps=2)
    step = played.apply(EtlMalformed(text="x", reason="no JSON"))
    assert (step.observation.error, step.observation.budget_remaining) == ("no action: no JSON", 1)
    assert played.apply(ReadyProbe(probe="skew", table="nowhere", column="x")).reply.error == "no column nowhere.x"


def test_an_agent_is_told_its_tables_and_contract_and_no_path(job: EtlJob) -> None:
    turn = episode(job)[0].turn(3)
    assert "sales.orders (id BIGINT, customer BIGINT" in turn.first.sources
    assert "/" not in turn.first.sources
    assert turn.tables[0].rows == 900
    assert not any(path in turn.model_dump_json() for path in job.after.files)
    assert probe_sql(ReadyProbe(probe="nulls", table="SALES.orders", column="Status"), job) == (
        'SELECT count(*) AS n, count(*) - count("status") AS nulls FROM "sales"."orders"'
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"kind": "UPDATE_JOB", "job_id": 4711}', "frozen"),
        ('{"kind": "RUN", "statements": ["x"], "job": " ４７１１ "}', "frozen"),
        ('{"kind": "RUN_NOW", "job": {"id": 4711.0}}', "frozen"),
        ('{"kind": "RUN"}', "statements"),
        ('{"kind": "SING"}', "SING"),
        ("hello", "expected a JSON object"),
        ("[1]", "expected a JSON object"),
        ("[" * 100_000, "expected a JSON object"),
    ],
)
def test_a_tool_call_that_is_no_action_is_malformed(text: str, part: str) -> None:
    action = parse_etl_action(text, FrozenJob("4711"))
    assert isinstance(action, EtlMalformed)
    assert part in action.reason


def test_a_tool_call_is_an_action() -> None:
    action = parse_etl_action('{"kind": "RUN", "statements": ["SELECT 1"], "reasoning": "try"}', FrozenJob("4711"))
    assert action == RunRewrite(statements=("SELECT 1",), reasoning="try")


class Playing:
    """A policy that plays given actions."""

    def __init__(self, *actions: EtlAction) -> None:
        self._actions = actions

    def act(self, turn: EtlTurn) -> EtlAction:
        return self._actions[len(turn.history)]


def test_an_unequal_submission_leaves_a_page_that_proposes_nothing(job: EtlJob, tmp_path: Path) -> None:
    evil = WRONG.replace("CREATE", "/* ``` <script>alert(1)</script> | */ CREATE")
    player = Playing(RunRewrite(statements=(evil,), reasoning="<b>|`x`"), Verify(), Submit())
    done = play(Pins(job=job), player, Asked(policy="script"), tmp_path / "out")
    assert (done.proposed, done.verdict, done.reward) == (False, "incorrect", 0.0)
    page, text = ((tmp_path / "out" / name).read_text() for name in ("proposal.html", "proposal.md"))
    assert "No proposal" in page
    assert "<script>" not in page
    assert "\\<b\\>\\|\\`x\\`" in text
    assert "````diff" in text


def test_a_fault_leaves_a_trace_and_no_grade(job: EtlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disturbed(bench: Bench, statements: tuple[str, ...]) -> EtlGrade:
        raise TimingFault("the measuring process was paused")

    monkeypatch.setattr(Bench, "submit", disturbed)
    with pytest.raises(TimingFault):
        play(Pins(job=job), Playing(RunRewrite(statements=(WRONG,)), Submit()), Asked(policy="s"), tmp_path / "out")
    written = (tmp_path / "out" / "trace.jsonl").read_text()
    assert '"event": "fault", "kind": "TimingFault"' in written
    assert '"role": "tool"' in (tmp_path / "out" / "messages.json").read_text()
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_job_whose_original_does_not_give_production_s_output_is_refused(job: EtlJob) -> None:
    broken = job.model_copy(update={"statements": (WRONG,)})
    bench = Bench(grader_here(broken))
    with pytest.raises(BadInput, match="does not give production's output"):
        _ = bench.baseline
    bench.close()
