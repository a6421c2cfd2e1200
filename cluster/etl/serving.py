"""The ETL environment wired up for the OpenEnv server: which jobs are played, and what is left of a graded episode."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from cluster.etl.builtin.building import SCALES
from cluster.etl.builtin.cached import builtin_jobs
from cluster.etl.opening import open_job
from cluster.etl.optimize import outcome_of, write_graded
from services.contracts.errors import BadInput
from services.contracts.etl import EtlDesk, EtlJob
from services.contracts.record import Record
from services.env_actor.etl.budgets import EtlBudgets
from services.env_actor.etl.episode import EtlEpisode
from services.env_actor.openenv.etl import EtlStage, Room
from services.grader.etl.apart import BenchApart
from services.grader.etl.nondeterminism.signoff import admit
from services.grader.runtime.pay import PayRules


class EtlServing(Record):
    """What is served at /etl."""

    jobs: tuple[Path, ...] = Field(
        default=(), description="files as `assay optimize` takes them; none: the built-in ones"
    )
    scale: str = Field(default="small", description="of the built-in jobs")
    budgets: EtlBudgets = EtlBudgets()
    rules: PayRules = PayRules()
    room: Room = Room()
    out: Path | None = Field(
        default=None, description="where each graded episode leaves what its reward is derived from"
    )


def etl_stage(config: EtlServing) -> EtlStage:
    """The stage over those jobs. Raises BadInput."""

    def desk(job: EtlJob, ran: tuple[str, ...] | None) -> BenchApart:
        return BenchApart(job, config.rules, ran)

    def leave(job: EtlJob, seed: int, episode: EtlEpisode, desk: EtlDesk) -> None:
        if config.out is not None and isinstance(desk, BenchApart) and desk.submission is not None:
            done = outcome_of(job, "openenv", seed, episode)
            write_graded(done, desk.submission, config.out / f"{job.task_key}-{secrets.token_hex(8)}")

    return EtlStage(jobs_of(config), desk, config.budgets, config.room, leave)


def jobs_of(config: EtlServing) -> dict[str, EtlJob]:
    """The jobs by their ids as tasks. Raises BadInput, for a job too whose output cannot be compared as a whole.

    Clients train here, and nobody reads what they hand in: a sign-off does not help.
    """
    if config.scale not in SCALES:
        raise BadInput(f"no scale {config.scale}; there is {', '.join(SCALES)}")
    jobs = _named([open_job(path).job for path in config.jobs]) if config.jobs else builtin_jobs(config.scale)
    for job in jobs.values():
        admit(job, training=True)
    return jobs


def _named(jobs: Sequence[EtlJob]) -> dict[str, EtlJob]:
    named = {job.task_key: job for job in jobs}
    if len(named) < len(jobs):
        raise BadInput("two of the ETL jobs have the same task_key, which is their id on the server")
    return named
