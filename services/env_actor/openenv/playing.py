"""Any environment's episode behind OpenEnv: the code that the rollout actor plays, one action at a time.

Invariant: a step that raises or is cancelled has not happened. No results are kept but the last: whoever plays stores
the episode.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field

from services.contracts.actions import HISTORY_CHARACTERS, argument_of
from services.contracts.actions import Action as OurAction
from services.contracts.grading import AnswerVerifier, Grader
from services.contracts.observation import AnyObservation
from services.contracts.tasks import Environment, EpisodeLimits, Task
from services.contracts.trajectory import Step
from services.env_actor.analyst.trials import TrialGround
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.episode import Episode, episode_of, sandbox_of
from services.env_actor.taking import Taker
from services.env_actor.taskset import TaskSet

LIGHT = 4_000
"""Characters of a result that may be kept for the length of an episode."""
Facts = dict[str, object]
ActionT = TypeVar("ActionT", bound=Action)
ObservationT = TypeVar("ObservationT", bound=Observation)


class EpisodeState(State):
    """Where an episode stands."""

    task_id: str | None = None
    seed: int | None = None
    reward: float = Field(default=0.0, description="the sum of what was paid so far")
    done: bool = False
    verdict: str | None = Field(default=None, description="of an episode that is over")
    truncation: str | None = Field(default=None, description="the limit that ended it, if one did")


class EpisodeStage(ABC, Generic[ActionT, ObservationT]):
    """One environment over one task set; what is its own is how actions are read and observations shown."""

    environment: Environment
    description: str
    action: type[ActionT]
    observation: type[ObservationT]
    state: type[EpisodeState] = EpisodeState

    def __init__(
        self,
        task_set: TaskSet,
        grader: Grader,
        ground: TrialGround,
        limits: EpisodeLimits,
        verifier: AnswerVerifier | None = None,
    ) -> None:
        self._tasks = {key: task for key, task in task_set.tasks.items() if task.environment == self.environment}
        self._ids = list(self._tasks)
        self._task_set = task_set
        self._grader = grader
        self._ground = ground
        self._limits = limits
        self._verifier = verifier
        self._catalogs: dict[str, DatabaseCatalog] = {}

    @property
    def name(self) -> str:
        """What it is mounted under."""
        return self.environment

    def tasks(self) -> Sequence[str]:
        """The ids of the tasks, in their order."""
        return self._ids

    def begin(self, task_id: str, seed: int) -> "EpisodePlay[ActionT, ObservationT]":
        """A new episode."""
        task = self._tasks[task_id]
        catalog = self._catalogs.get(task.database)
        if catalog is None:
            catalog = self._catalogs[task.database] = self._task_set.catalog(task.database)
        episode = episode_of(task, catalog, self._grader, seed, self._limits)
        sandbox = sandbox_of(task, self._ground, self._grader)
        taker = Taker(episode, task, sandbox, self._limits.deadline_s, self._verifier)
        return EpisodePlay(self, episode, taker, task, seed, whole=self._verifier is not None)

    @abstractmethod
    def read(self, action: ActionT) -> OurAction:
        """The episode's action; what is none is Malformed."""

    @abstractmethod
    def show(self, seen: AnyObservation, done: bool, reward: float | None, facts: Facts) -> ObservationT:
        """The observation as it goes over the wire."""

    def ending(self, episode: Episode) -> Facts:
        """What else is told of an episode that is over."""
        return {}


class EpisodePlay(Generic[ActionT, ObservationT]):
    """One live episode. Its steps are kept `whole` if its answer will be verified by them."""

    def __init__(
        self,
        stage: EpisodeStage[ActionT, ObservationT],
        episode: Episode,
        taker: Taker,
        task: Task,
        seed: int,
        whole: bool,
    ) -> None:
        self._stage = stage
        self._episode = episode
        self._taker = taker
        self._task = task
        self._whole = whole
        self.seed = seed
        self.latest = self._shown(episode.reset(), None)

    @property
    def task_id(self) -> str:
        """The task that is played."""
        return self._task.task_id

    @property
    def over(self) -> bool:
        """No further action is taken."""
        return self._episode.over

    @property
    def verdict(self) -> str | None:
        """The verdict of an episode that is over."""
        return self._episode.verdict() if self.over else None

    async def step(self, action: ActionT) -> ObservationT:
        """Take one action. Raises Infrastructure; then nothing was taken."""
        taken = await self._taker.take(self._stage.read(action))
        step = self._episode.steps[-1]
        if not self._whole:
            self._episode.steps[-1] = _lightened(step)
        self.latest = self._shown(taken.observation, step)
        return self.latest

    def state(self, episode_id: str) -> EpisodeState:
        """Where the episode stands."""
        return self._stage.state(
            episode_id=episode_id,
            step_count=len(self._episode.steps),
            task_id=self.task_id,
            seed=self.seed,
            reward=self._episode.reward(),
            done=self.over,
            verdict=self.verdict,
            truncation=self._episode.truncation,
        )

    def release(self) -> None:
        """Nothing is held between the steps: the sandbox is the stage's."""

    def _shown(self, seen: AnyObservation, step: Step | None) -> ObservationT:
        facts: Facts = {"task_id": self.task_id}
        if step is not None:
            facts["components"] = vars(step.components).copy()  # twice as fast as dict()
        if self.over:
            facts |= {"verdict": self.verdict, "truncation": self._episode.truncation}
            facts |= self._stage.ending(self._episode)
        return self._stage.show(seen, self.over, None if step is None else step.reward, facts)


def _lightened(step: Step) -> Step:
    """The step without what nothing asks for again: its result, its outcome, and all of a long action but its start."""
    if step.outcome is None and len(step.result) <= LIGHT and len(argument_of(step.action)) <= HISTORY_CHARACTERS:
        return step
    return Step(
        action=_shortened(step.action),
        result="",
        error="",
        outcome=None,
        components=step.components,
        reward=step.reward,
        score=step.score,
    )


def _shortened(action: OurAction) -> OurAction:
    """The action as far as a history line shows it."""
    text = argument_of(action)
    if len(text) <= HISTORY_CHARACTERS:
        return action
    field = next(name for name in type(action).model_fields if getattr(action, name) is text)
    return action.model_copy(update={field: text[:HISTORY_CHARACTERS]})
