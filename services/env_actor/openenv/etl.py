"""The ETL environment over OpenEnv: a job of production on the wire, the agent's tools as one flat action."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from openenv.core.env_server.types import Action, State, WSErrorCode
from openenv.core.env_server.types import Observation as OpenEnvObservation
from pydantic import Field

from services.contracts.actions import writable
from services.contracts.errors import AssayError, Infrastructure
from services.contracts.etl import EtlAction as OurAction
from services.contracts.etl import EtlDesk, EtlJob, EtlMalformed, Submit
from services.contracts.etl_parsing import etl_action
from services.contracts.frozen import FrozenJob
from services.contracts.record import Record
from services.env_actor.etl.budgets import EtlBudgets
from services.env_actor.etl.episode import EtlEpisode
from services.env_actor.openenv.stage import Refusal

OpenDesk = Callable[[EtlJob, tuple[str, ...] | None], EtlDesk]
"""A desk for a job, on which that rewrite ran last; nothing is started yet."""
OnOver = Callable[[EtlJob, int, EtlEpisode, EtlDesk], None]
"""Hears of an episode of a seed that is over, with its last desk, in a thread. If it raises OSError, it is not over."""
SUBMITS = 3
"""Submissions that a client may begin and not wait for, so that none is begun anew until it is timed well by chance."""
_LOG = logging.getLogger(__name__)


class EtlAction(Action):
    """What the agent sends each step: the fields that its kind of action has, and no others."""

    kind: str = Field(description="One of: EXPLAIN, ANALYZE, PROBE, READY_PROBE, RUN, VERIFY, SUBMIT")
    sql: str = Field(default="", description="One query (for EXPLAIN, ANALYZE and PROBE)")
    statements: list[str] = Field(default_factory=list, description="The rewrite (for RUN)")
    probe: str = Field(default="", description="skew, cardinality or nulls (for READY_PROBE)")
    table: str = Field(default="", description="A source (for READY_PROBE)")
    column: str = Field(default="", description="A column of it (for READY_PROBE)")
    rule: str = Field(default="", description="The rule of the edit (for RUN, if there is one)")
    place: str = Field(default="", description="Where the rule fits (for RUN, if there is one)")
    reasoning: str = Field(default="", description="The agent's own text: never judged")


class EtlObservation(OpenEnvObservation):
    """What the agent receives after each step."""

    question: str = Field(description="What is asked for")
    original: list[str] = Field(description="The job's statements")
    sources: str = Field(description="The tables that they read: columns, types, rows")
    contract: str = Field(description="What a rewrite may rely on")
    result: str = Field(default="", description="Result of the last action")
    error: str = Field(default="", description="Why the last action came to nothing")
    step_count: int = Field(default=0, description="Steps taken so far")
    budget_remaining: int = Field(default=0, description="Steps left")
    best: str = Field(default="", description="The cheapest rewrite that was verified so far")


class EtlState(State):
    """Where an episode stands."""

    task_id: str | None = None
    seed: int | None = None
    reward: float | None = Field(default=0.0, description="what was paid; none if the submission could not be graded")
    done: bool = False
    verdict: str | None = Field(default=None, description="of an episode that is over")
    truncation: str | None = Field(default=None, description="the limit that ended it, if one did")
    wall_s: float = Field(default=0.0, description="seconds that the bench worked")
    read_bytes: int = Field(default=0, description="bytes that the agent's statements read")


class Room(Record):
    """How much of the machine the episodes of one server take."""

    at_once: int = Field(default=1, ge=1, description="steps at once; one may need most of 8 GB")
    desks: int = Field(default=8, ge=1, description="episodes that keep a process and files between their steps")
    idle_s: float = Field(default=600.0, gt=0, description="seconds without a step after which they are let go")


class EtlStage:
    """The ETL environment over pinned jobs. Steps run in threads, which wait for processes: never on the loop."""

    name = "etl"
    description = "Make a job of production cheaper: the same rows in less CPU time. RUN, VERIFY, then SUBMIT."
    action = EtlAction
    observation = EtlObservation
    state = EtlState

    def __init__(
        self,
        jobs: Mapping[str, EtlJob],
        desk: OpenDesk,
        budgets: EtlBudgets,
        room: Room,
        on_over: OnOver = lambda job, seed, episode, desk: None,
    ) -> None:
        self.desk = desk
        self.budgets = budgets
        self.room = room
        self.on_over = on_over
        self.threads = ThreadPoolExecutor(room.at_once, thread_name_prefix="etl")
        self._jobs = jobs
        self._ids = list(jobs)
        self._live: OrderedDict[EtlPlay, None] = OrderedDict()

    def tasks(self) -> Sequence[str]:
        """The ids of the jobs, in their order."""
        return self._ids

    def begin(self, task_id: str, seed: int) -> "EtlPlay":
        """A new episode."""
        return EtlPlay(self, task_id, self._jobs[task_id], seed)

    def make_room(self, play: "EtlPlay") -> None:
        """Let a play have a desk, and take it from those who have not used theirs for longest."""
        self._live[play] = None
        self._live.move_to_end(play)
        idle = [other for other in self._live if not other.busy and other is not play]
        for other in idle[: max(0, len(self._live) - self.room.desks)]:
            other.release()

    def gave_up(self, play: "EtlPlay") -> None:
        """The play has no desk any more."""
        self._live.pop(play, None)

    def close(self) -> None:
        """End everything that runs."""
        for play in list(self._live):
            play.release()
        self.threads.shutdown(cancel_futures=True)


class EtlPlay:
    """One live episode. Without a desk it is a few records, and takes one when it goes on."""

    def __init__(self, stage: EtlStage, task_id: str, job: EtlJob, seed: int) -> None:
        self.task_id = task_id
        self.seed = seed
        self.busy = False
        self._stage = stage
        self._job = job
        self._frozen = FrozenJob(job.job_id)
        self._desk = stage.desk(job, None)
        self._episode = EtlEpisode(job, self._desk, stage.budgets)
        self._rest: asyncio.TimerHandle | None = None
        self._submits = 0
        self.latest = self._shown(None)

    @property
    def over(self) -> bool:
        """No further action is taken."""
        return self._episode.over

    @property
    def verdict(self) -> str | None:
        """The verdict of an episode that is over."""
        return self._episode.verdict() if self.over else None

    async def step(self, action: EtlAction) -> EtlObservation:
        """Take one action. Raises Infrastructure and Refusal; then nothing was taken."""
        taken, episode, desk = self._read(action), self._episode.at(self._desk), self._desk
        self._count(taken)
        self._wake()
        done = False
        try:
            await asyncio.get_running_loop().run_in_executor(self._stage.threads, self._take, episode, desk, taken)
            done = True
        except (AssayError, OSError) as error:
            self._submits = 0  # the machine's doing, not the client's
            _LOG.exception("a step of %s failed", self.task_id)
            raise Infrastructure("the bench has failed; the server's log says why") from error
        finally:
            self.busy = False
            if not done:
                self.release()
        self._episode, self._submits = episode, 0
        self.latest = self._shown(episode.reward() if self.over else 0.0)
        self._after()
        return self.latest

    def state(self, episode_id: str) -> EtlState:
        """Where the episode stands."""
        return EtlState(
            episode_id=episode_id,
            step_count=len(self._episode.steps),
            task_id=self.task_id,
            seed=self.seed,
            reward=self._episode.reward() if self.over else 0.0,
            done=self.over,
            verdict=self.verdict,
            truncation=self._episode.truncation,
            wall_s=self._episode.spent.wall_s,
            read_bytes=self._episode.spent.read_bytes,
        )

    def release(self) -> None:
        """End the desk with its processes and files, in the middle of a step too; the episode can go on at another."""
        if self._rest is not None:
            self._rest.cancel()
        self._stage.gave_up(self)
        self._desk.close()
        self._desk = self._stage.desk(self._job, self._episode.ran)

    def _count(self, action: OurAction) -> None:
        if isinstance(action, Submit):
            if self._submits >= SUBMITS:
                said = f"{SUBMITS} submissions were begun and not waited for: reset"
                raise Refusal(WSErrorCode.EXECUTION_ERROR, 409, said)
            self._submits += 1

    def _wake(self) -> None:
        self.busy = True
        if self._rest is not None:
            self._rest.cancel()
        self._stage.make_room(self)

    def _take(self, episode: EtlEpisode, desk: EtlDesk, action: OurAction) -> None:
        """What a step does in its thread. Setting the desk up is not the agent's time."""
        if not isinstance(action, EtlMalformed):
            desk.open()
        episode.apply(action)
        if episode.over:
            self._stage.on_over(self._job, self.seed, episode, desk)

    def _after(self) -> None:
        """An episode that is over leaves its desk now, another one when nothing was asked of it for long."""
        if self.over:
            self.release()
        else:
            self._rest = asyncio.get_running_loop().call_later(self._stage.room.idle_s, self.release)

    def _read(self, action: EtlAction) -> OurAction:
        """The episode's action; what is none is Malformed."""
        given = {name: value for name, value in action.model_dump(exclude={"metadata"}).items() if value}
        return etl_action({name: _clean(value) for name, value in given.items()}, self._frozen)

    def _shown(self, reward: float | None) -> EtlObservation:
        seen, grade = self._episode.observation, self._episode.grade
        facts: dict[str, object] = {"task_id": self.task_id}
        if self.over:
            facts |= {"verdict": self.verdict, "truncation": self._episode.truncation}
        if grade is not None:
            facts |= {"speed_up": grade.speed_up, "lower_bound": grade.lower_bound}
        return EtlObservation(done=self.over, reward=reward, metadata=facts, **seen.model_dump(mode="json"))


def _clean(value: str | list[str]) -> str | list[str]:
    return writable(value) if isinstance(value, str) else [writable(text) for text in value]
