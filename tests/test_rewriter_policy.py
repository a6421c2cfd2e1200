"""The policies decide from the turn alone: the rewriter tries, verifies, goes back, and hands in the best it has."""

from pathlib import Path

import pytest

from cluster.etl.builtin.catalog import JOBS
from services.contracts.errors import BadInput
from services.contracts.etl import (
    BenchReply,
    EtlGrade,
    EtlJob,
    EtlPolicy,
    EtlTurn,
    PinnedTable,
    RunRewrite,
    Submit,
    Verify,
)
from services.env_actor.etl.budgets import EtlBudgets
from services.env_actor.etl.episode import EtlEpisode
from services.policy.rewriter.playing import EtlScript, RandomEditsPolicy, ScriptedEtlPolicy, handing_in
from services.policy.rewriter.registry import etl_policy
from services.policy.rewriter.search import RewriterPolicy

SPEC = JOBS["orders_unjoined"]


class PricedBench:
    """A bench that runs nothing: joins cost, and statements with one of the `bad` texts are not equal."""

    def __init__(self, bad: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> None:
        self._bad = bad
        self._broken = broken
        self._last = ""
        self.submitted: tuple[str, ...] = ()

    def explain(self, sql: str) -> BenchReply:
        return BenchReply(text="a plan")

    def analyze(self, sql: str) -> BenchReply:
        return BenchReply(text="a profile")

    def probe(self, sql: str) -> BenchReply:
        return BenchReply(text="rows")

    def run(self, statements: tuple[str, ...]) -> BenchReply:
        self._last = " ".join(statements)
        if any(text in self._last for text in self._broken):
            return BenchReply(error="sql_error: no")
        cost = 1.0 + self._last.count(" JOIN ")
        return BenchReply(text=f"1 rows in result; {cost:.3f} CPU s in one run (the original took 3.000)", cpu_s=cost)

    def verify(self) -> BenchReply:
        equal = not any(text in self._last for text in self._bad)
        return BenchReply(text="equal: 1 and 1 rows" if equal else "different: 1 and 2 rows", equal=equal)

    def submit(self, statements: tuple[str, ...]) -> EtlGrade:
        self.submitted = statements
        return EtlGrade(verdict="correct", reward=1.0, equal=True, reason="")


def job() -> EtlJob:
    def pinned(name: str) -> PinnedTable:
        shape = next((table.shape for table in SPEC.tables if table.name == name), ())
        return PinnedTable(name=name, kind="parquet", files=(), columns=shape)

    return EtlJob(
        job_id="7",
        task_key=SPEC.task_key,
        question=SPEC.question,
        statements=SPEC.statements,
        output="result",
        mode="create",
        output_columns=(),
        sources=tuple(pinned(table.name) for table in SPEC.tables),
        before=None,
        after=pinned("result"),
        contract=SPEC.contract,
    )


def play(policy: EtlPolicy, bench: PricedBench, steps: int = 60, seed: int = 0) -> EtlEpisode:
    episode = EtlEpisode(job(), bench, EtlBudgets(steps=steps))
    while not episode.over:
        turn = episode.turn(seed)
        action = policy.act(turn)
        assert action == policy.act(EtlTurn.model_validate_json(turn.model_dump_json()))
        episode.apply(action)
    return episode


def test_the_rewriter_hands_in_what_was_equal_and_cheapest() -> None:
    bench = PricedBench()
    episode = play(RewriterPolicy(), bench)
    assert bench.submitted[0].count(" JOIN ") == 0
    kinds = [step.action.kind for step in episode.steps]
    assert kinds[:2] == ["RUN", "VERIFY"]
    assert kinds[-1] == "SUBMIT"


def test_the_rewriter_never_builds_on_what_was_refuted() -> None:
    bench = PricedBench(bad=("orders AS o GROUP BY",))
    episode = play(RewriterPolicy(), bench)
    refuted = [
        before.action.statements
        for before, step in zip(episode.steps, episode.steps[1:], strict=False)
        if isinstance(step.action, Verify) and isinstance(before.action, RunRewrite) and not step.reply.equal
    ]
    assert refuted
    assert bench.submitted not in refuted


def test_the_rewriter_goes_on_after_an_edit_that_does_not_run() -> None:
    bench = PricedBench(broken=("early",))
    play(RewriterPolicy(), bench)
    assert bench.submitted[0].count(" JOIN ") == 0


def test_without_a_gain_the_original_is_handed_in() -> None:
    bench = PricedBench(bad=("AS",))
    play(RewriterPolicy(), bench)
    assert bench.submitted == SPEC.statements


@pytest.mark.parametrize("steps", range(2, 9))
def test_the_rewriter_submits_within_any_budget(steps: int) -> None:
    episode = play(RewriterPolicy(), PricedBench(), steps)
    assert episode.grade is not None


@pytest.mark.parametrize("seed", range(6))
def test_random_edits_submit_something_and_repeat_by_the_seed(seed: int) -> None:
    one, other = (play(RandomEditsPolicy(), PricedBench(), 20, seed) for _ in range(2))
    assert one.grade is not None
    assert [step.action for step in one.steps] == [step.action for step in other.steps]


def test_a_script_plays_any_job_by_its_name_or_for_all(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    for key in (SPEC.task_key, "*"):
        path.write_text(EtlScript(task_key=key, actions=handing_in(SPEC.right)).model_dump_json() + "\n")
        bench = PricedBench()
        episode = play(etl_policy(f"scripted:{path}"), bench)
        assert bench.submitted == SPEC.right
        assert [step.action.kind for step in episode.steps] == ["RUN", "VERIFY", "SUBMIT"]
    assert ScriptedEtlPolicy({}).act(EtlEpisode(job(), PricedBench(), EtlBudgets()).turn(0)) == Submit()


def test_a_wrong_name_or_script_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"task_key": "x", "actions": [{"kind": "FLY"}]}\n')
    with pytest.raises(BadInput, match="did you mean rewriter"):
        etl_policy("rewritr")
    with pytest.raises(BadInput, match="line 1"):
        etl_policy(f"scripted:{tmp_path / 'bad.jsonl'}")
    with pytest.raises(BadInput, match="cannot read"):
        etl_policy(f"scripted:{tmp_path / 'none.jsonl'}")
