"""Whose desk it is: what an ETL play does with its own when it is cut off, silent, one of many, or let down."""

import asyncio
import shutil
import threading
from collections.abc import Iterator

import pytest

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import BenchReply, EtlDesk, EtlGrade, EtlJob
from services.env_actor.etl.budgets import EtlBudgets
from services.env_actor.openenv.etl import SUBMITS, EtlAction, EtlPlay, EtlStage, Room
from services.env_actor.openenv.stage import Refusal
from tests.etl_jobs import etl_job, public_folder

RUN, VERIFY, SUBMIT = EtlAction(kind="RUN", statements=["a"]), EtlAction(kind="VERIFY"), EtlAction(kind="SUBMIT")


class FakeDesk:
    """A desk without a process (protocol: EtlDesk), which answers when it is let."""

    def __init__(self, ran: tuple[str, ...] | None, free: threading.Event, broken: bool = False) -> None:
        self.ran = ran
        self.opened = self.closed = False
        self.asked = threading.Event()
        self._free = free
        self._broken = broken
        self._ended = threading.Event()

    def open(self) -> None:
        self.opened = True
        if self._broken:
            raise BadInput("no such file: /secret/after.parquet")

    def close(self) -> None:
        self.closed = True
        self._ended.set()
        self._free.set()

    def _answer(self, text: str, equal: bool | None = None) -> BenchReply:
        self.asked.set()
        self._free.wait()
        if self._ended.is_set():
            raise Infrastructure("the desk is closed")
        return BenchReply(text=text, equal=equal)

    def explain(self, sql: str) -> BenchReply:
        return self._answer("plan")

    def analyze(self, sql: str) -> BenchReply:
        return self._answer("profile")

    def probe(self, sql: str) -> BenchReply:
        return self._answer("rows")

    def run(self, statements: tuple[str, ...]) -> BenchReply:
        return self._answer("ran")

    def verify(self) -> BenchReply:
        return self._answer("equal", True)

    def submit(self, statements: tuple[str, ...]) -> EtlGrade:
        self._answer("graded")
        return EtlGrade(verdict="correct", reward=0.5, equal=True, reason="equal")


class Office:
    """All desks that a stage was given."""

    def __init__(self, broken: bool = False) -> None:
        self.desks: list[FakeDesk] = []
        self.free = threading.Event()
        self.free.set()
        self._broken = broken

    def desk(self, job: EtlJob, ran: tuple[str, ...] | None) -> EtlDesk:
        self.desks.append(FakeDesk(ran, self.free, self._broken))
        return self.desks[-1]

    @property
    def taken(self) -> int:
        return sum(desk.opened and not desk.closed for desk in self.desks)


@pytest.fixture(scope="module")
def job() -> Iterator[EtlJob]:
    folder = public_folder()
    yield etl_job(folder)
    shutil.rmtree(folder)


def stage_of(job: EtlJob, office: Office, **room: float) -> EtlStage:
    return EtlStage({"daily": job}, office.desk, EtlBudgets(steps=5), Room.model_validate(room))


async def cut_off(play: EtlPlay, office: Office, action: EtlAction) -> None:
    """Begin a step, and go in the middle of it."""
    office.free.clear()
    desk = office.desks[-1]
    step = asyncio.create_task(play.step(action))
    await asyncio.to_thread(desk.asked.wait)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert desk.closed


async def test_a_step_that_is_cut_off_was_not_taken_and_the_next_desk_has_what_ran_before_it(job: EtlJob) -> None:
    office = Office()
    play = stage_of(job, office).begin("daily", 1)
    await play.step(RUN)
    office.desks[-1].asked.clear()
    await cut_off(play, office, EtlAction(kind="RUN", statements=["b"]))
    assert play.state("e").step_count == 1
    assert (await play.step(VERIFY)).result == "equal"
    assert office.desks[-1].ran == ("a",)
    seen = await play.step(SUBMIT)
    assert (seen.reward, seen.done, play.verdict, office.taken) == (0.5, True, "correct", 0)


async def test_a_submission_is_not_begun_again_and_again(job: EtlJob) -> None:
    office = Office()
    play = stage_of(job, office).begin("daily", 1)
    await play.step(RUN)
    for _ in range(SUBMITS):
        office.desks[-1].asked.clear()
        await cut_off(play, office, SUBMIT)
    with pytest.raises(Refusal, match="begun and not waited for"):
        await play.step(SUBMIT)
    assert not play.over


async def test_the_desk_of_one_that_is_silent_or_released_is_let_go_and_the_episode_is_not(job: EtlJob) -> None:
    office = Office()
    play = stage_of(job, office, idle_s=0.01).begin("daily", 1)
    await play.step(RUN)
    while office.taken:
        await asyncio.sleep(0)
    await play.step(VERIFY)
    assert office.desks[-1].ran == ("a",)
    play.release()
    assert (office.taken, play.latest.result, play.latest.step_count) == (0, "equal", 2)


async def test_so_many_desks_and_no_more_are_kept_for_those_who_used_theirs_last(job: EtlJob) -> None:
    office = Office()
    stage = stage_of(job, office, desks=2, at_once=2)
    plays = [stage.begin("daily", seed) for seed in range(5)]
    for play in (*plays, *plays):
        await play.step(RUN)
        assert office.taken <= 2
    assert [play.latest.step_count for play in plays] == [2] * 5
    stage.close()
    assert office.taken == 0


async def test_a_budget_ends_an_episode_and_its_desk(job: EtlJob) -> None:
    office = Office()
    play = stage_of(job, office).begin("daily", 1)
    for _ in range(5):
        seen = await play.step(RUN)
    assert (seen.done, seen.reward, seen.metadata["truncation"], office.taken) == (True, 0.0, "steps", 0)
    assert (play.verdict, play.state("e").reward) == ("no_submission", 0.0)


async def test_a_broken_job_is_a_fault_that_tells_no_path_and_takes_no_step(job: EtlJob) -> None:
    office = Office(broken=True)
    play = stage_of(job, office).begin("daily", 1)
    for _ in range(2):
        with pytest.raises(Infrastructure, match="the server's log says why") as raised:
            await play.step(VERIFY)
        assert "/secret" not in str(raised.value)
    assert (play.state("e").step_count, office.taken) == (0, 0)
