"""Plays one job with one policy and leaves all of it in a folder: trace, messages, submission, proposal.

Invariant: what is paid can be derived again from submission.json; a broken machine leaves a trace and no grade.
"""

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cluster.etl.pinning import Pins, write_pins
from cluster.etl.proposal import Proposal, write_proposal
from cluster.etl.trace import Message, Trace, messages_of
from services.contracts.errors import AssayError, BadInput
from services.contracts.etl import EtlAction, EtlDecision, EtlGrade, EtlJob, EtlPolicy, EtlSpent, EtlTurn
from services.contracts.grading import Verdict
from services.contracts.record import Record
from services.env_actor.etl.budgets import EtlBudgets, EtlTruncation, Spent
from services.env_actor.etl.episode import EtlEpisode, EtlStep
from services.grader.etl.bench import Bench
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.submission import Submission
from services.grader.runtime.pay import PayRules

OnStep = Callable[[int, EtlStep], None]


class Optimized(Record):
    """What came of a job."""

    job_id: str
    task_key: str
    policy: str
    seed: int
    verdict: Verdict
    reward: float | None
    truncation: EtlTruncation | None
    grade: EtlGrade | None
    spent: Spent
    steps: int

    @property
    def proposed(self) -> bool:
        """Whether there is a rewrite that is equal and proven cheaper."""
        return self.grade is not None and self.grade.equal and (self.grade.lower_bound or 0.0) > 1.0


class Asked(Record):
    """How a job is to be played."""

    policy: str
    seed: int = 0
    budgets: EtlBudgets = EtlBudgets()
    rules: PayRules = PayRules()


def make_folder(out: Path) -> None:
    """A new folder for a run. Raises BadInput if there is something in it."""
    if out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out} is there already and not empty: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make {out}: {error.strerror}") from error


def play(
    pins: Pins, policy: EtlPolicy, asked: Asked, out: Path, on_step: OnStep = lambda number, step: None
) -> Optimized:
    """Play the job into a folder. Raises BadInput; Infrastructure where the machine failed: nothing is graded."""
    job = pins.job
    out.mkdir(parents=True, exist_ok=True)
    write_pins(pins, out / "pins.json")
    with Trace(out / "trace.jsonl") as trace:
        asking: Message = asked.model_dump(mode="json", include={"policy", "seed", "budgets"})
        trace.write("start", asking | {"job": job.job_id, "task": job.task_key})
        try:
            done = _played(pins, policy, asked, out, trace, on_step)
        except AssayError as error:
            trace.write("fault", {"kind": type(error).__name__, "message": str(error)})
            raise
        trace.write("end", {"verdict": done.verdict, "reward": done.reward, "truncation": done.truncation})
    return done


def _played(pins: Pins, policy: EtlPolicy, asked: Asked, out: Path, trace: Trace, on_step: OnStep) -> Optimized:
    job = pins.job
    with closing(Bench(SubmissionGrader(job, rules=asked.rules))) as bench:
        run, comparison = bench.baseline
        trace.write("baseline", {"cpu_s": run.cpu_s, "wall_s": run.wall_s, "rows": run.outputs[0].rows})
        episode = EtlEpisode(job, bench, asked.budgets)
        try:
            while not episode.over:
                action, spent = _decide(policy, episode.turn(asked.seed))
                number = len(episode.steps) + 1
                trace.decided(number, action, spent)
                step = episode.apply(action)
                trace.done(number, step)
                on_step(number, step)
        finally:
            _write(out / "messages.json", json.dumps(messages_of(episode.turn(0)), indent=1))
        done = outcome_of(job, asked.policy, asked.seed, episode)
        write_graded(done, bench.submission, out)
        proposal = Proposal(
            pins=pins,
            policy=asked.policy,
            proposed=done.proposed,
            verdict=done.verdict,
            reward=done.reward,
            grade=episode.grade,
            submission=bench.submission,
            baseline=run,
            reproduced=comparison,
            steps=tuple(episode.steps),
        )
        write_proposal(proposal, out)
        return done


def _decide(policy: EtlPolicy, turn: EtlTurn) -> tuple[EtlAction, EtlSpent]:
    started = time.perf_counter()
    decided = policy.act(turn)
    policy_ms = round((time.perf_counter() - started) * 1e3, 1)
    if not isinstance(decided, EtlDecision):
        return decided, EtlSpent(policy_ms=policy_ms)
    counted = {} if decided.usage is None else dict(decided.usage)
    return decided.action, EtlSpent(policy_ms=policy_ms, usd=decided.usd, **counted)


def outcome_of(job: EtlJob, policy: str, seed: int, episode: EtlEpisode) -> Optimized:
    """What came of an episode that is over."""
    return Optimized(
        job_id=job.job_id,
        task_key=job.task_key,
        policy=policy,
        seed=seed,
        verdict=episode.verdict(),
        reward=episode.reward(),
        truncation=episode.truncation,
        grade=episode.grade,
        spent=episode.spent,
        steps=len(episode.steps),
    )


def write_graded(done: Optimized, submission: Submission | None, out: Path) -> None:
    """Leave the result, and what it is derived from, as `assay regrade` reads them."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    if submission is not None:
        _write(out / "submission.json", submission.model_dump_json(indent=1))
    _write(out / "result.json", done.model_dump_json(indent=1))


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")
