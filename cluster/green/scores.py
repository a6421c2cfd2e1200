"""The artifact of an assessment: each participant's scores, and the participants paired."""

from cluster.evaluation.figures import Figures
from cluster.evaluation.pairs import Comparison
from cluster.evaluation.results import Evaluation
from cluster.green.request import AssessmentRequest
from services.contracts.record import Record


class ParticipantScores(Record):
    """What one participant came to.

    `score` is the share of all planned episodes that it solved: silence does not raise it. `success_rate` and the
    means are over graded episodes only; a fault (no answer in time, a lost connection, a broken sandbox) is no verdict.
    """

    role: str
    url: str
    score: float
    success_rate: float | None
    success_low: float | None
    success_high: float | None
    interval_reliable: bool
    avg_reward: float | None
    avg_steps: float | None
    pass_at: dict[int, float | None]
    episodes: int
    graded: int
    faulted: int
    verdicts: dict[str, int]
    faults: dict[str, int]
    failures: dict[str, int]
    violations: int


class PairScores(Record):
    """B - A over the pairs in which both were graded, with the p of the paired test, corrected by Holm."""

    a: str
    b: str
    pairs: int
    success_delta: float | None
    success_low: float | None
    success_high: float | None
    p_holm: float | None


class AssessmentScores(Record):
    """The JSON that an AgentBeats request gets back. `run` names the folder on the server with every episode."""

    task_set: str
    task_set_hash: str
    tasks: int
    samples: int
    seed: int
    run: str
    participants: tuple[ParticipantScores, ...]
    comparisons: tuple[PairScores, ...]


def scores_of(evaluation: Evaluation, request: AssessmentRequest, run: str) -> AssessmentScores:
    """The scores of a finished assessment."""
    manifest = evaluation.manifest
    return AssessmentScores(
        task_set=manifest.task_set_name,
        task_set_hash=manifest.task_set_hash,
        tasks=evaluation.policies[0].tasks,
        samples=manifest.config.samples,
        seed=manifest.config.seed,
        run=run,
        participants=tuple(_participant(one, evaluation, request) for one in evaluation.policies),
        comparisons=tuple(map(_pair, evaluation.comparisons)),
    )


def summary_of(scores: AssessmentScores) -> str:
    """One line a participant."""
    return "\n".join(
        f"{one.role}: solved {one.score:.1%} of {one.episodes} episodes, {one.faulted} faulted"
        for one in scores.participants
    )


def _participant(one: Figures, evaluation: Evaluation, request: AssessmentRequest) -> ParticipantScores:
    return ParticipantScores(
        role=one.policy,
        url=str(request.participants[one.policy]),
        score=one.verdicts.get("correct", 0) / one.episodes,
        success_rate=one.success.mean,
        success_low=one.success.low,
        success_high=one.success.high,
        interval_reliable=one.success.reliable,
        avg_reward=one.reward.mean,
        avg_steps=one.steps,
        pass_at={k: estimate.mean for k, estimate in one.pass_at.items()},
        episodes=one.episodes,
        graded=one.graded,
        faulted=one.faulted,
        verdicts=one.verdicts,
        faults=one.faults,
        failures={found.kind: found.episodes for found in evaluation.failures if found.policy == one.policy},
        violations=one.violations,
    )


def _pair(one: Comparison) -> PairScores:
    delta = one.success.delta
    return PairScores(
        a=one.a,
        b=one.b,
        pairs=one.pairs,
        success_delta=delta.mean,
        success_low=delta.low,
        success_high=delta.high,
        p_holm=one.success.p_holm,
    )
