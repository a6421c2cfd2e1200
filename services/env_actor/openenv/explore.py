"""The explore environment over OpenEnv: exactly sqlenv-v1-spec §2.2 on the wire, ExploreEpisode behind it."""

from collections.abc import Mapping, Sequence

from openenv.core.env_server.types import Action, State
from openenv.core.env_server.types import Observation as OpenEnvObservation
from pydantic import Field

from services.contracts.actions import HISTORY_CHARACTERS, ExploreAction, argument_of, make_action
from services.contracts.grading import AnswerGrader
from services.contracts.observation import Observation
from services.contracts.tasks import EpisodeLimits, Task
from services.contracts.trajectory import Step
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.explore import ExploreEpisode
from services.env_actor.play import Sandbox
from services.env_actor.taskset import TaskSet

LIGHT = 4_000
"""Characters of a result that may be kept for the length of an episode."""


class SQLAction(Action):
    """What the agent sends each step."""

    action_type: str = Field(description="One of: DESCRIBE, SAMPLE, QUERY, ANSWER")
    argument: str = Field(
        description="Table name (for DESCRIBE and SAMPLE), SQL (for QUERY), or the answer's value (for ANSWER)"
    )


class SQLObservation(OpenEnvObservation):
    """What the agent receives after each step."""

    question: str = Field(description="The question to answer")
    schema_info: str = Field(description="The names of the tables")
    result: str = Field(default="", description="Result of the last action: at most 20 rows as CSV")
    error: str = Field(default="", description="Why the last action came to nothing")
    step_count: int = Field(default=0, description="Steps taken so far")
    budget_remaining: int = Field(default=0, description="Steps left; ANSWER costs none")
    action_history: list[str] = Field(default_factory=list, description="The actions so far, shortened")


class SQLState(State):
    """Where an episode stands."""

    task_id: str | None = None
    seed: int | None = None
    reward: float = Field(default=0.0, description="the sum of what was paid so far")
    done: bool = False
    verdict: str | None = Field(default=None, description="of an episode that is over")
    truncation: str | None = Field(default=None, description="the limit that ended it, if one did")


class ExplorePlay:
    """One episode. It keeps no results but the last: whoever plays stores the episode."""

    def __init__(self, episode: ExploreEpisode, task: Task, seed: int, sandbox: Sandbox, deadline_s: float) -> None:
        self._episode = episode
        self._task = task
        self._sandbox = sandbox
        self._left_s = deadline_s
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

    async def step(self, action: SQLAction) -> SQLObservation:
        """Take one action. Raises SandboxFault; then nothing was taken."""
        did = make_action(action.action_type, action.argument)
        sql = self._episode.statement(did)
        outcome, ran_s = (None, 0.0) if sql is None else await self._sandbox.run(self._task.database, sql)
        observation = self._episode.apply(did, outcome)
        self._left_s -= ran_s or 0.0
        if self._left_s <= 0 and not self.over:
            self._episode.truncate("deadline")
        step = self._episode.steps[-1]
        self._episode.steps[-1] = _lightened(step)
        self.latest = self._shown(observation, step)
        return self.latest

    def state(self, episode_id: str) -> SQLState:
        """Where the episode stands."""
        return SQLState(
            episode_id=episode_id,
            step_count=len(self._episode.steps),
            task_id=self.task_id,
            seed=self.seed,
            reward=self._episode.reward(),
            done=self.over,
            verdict=self.verdict,
            truncation=self._episode.truncation,
        )

    def _shown(self, seen: Observation, step: Step | None) -> SQLObservation:
        facts: dict[str, object] = {"task_id": self.task_id}
        if step is not None:
            facts["components"] = dict(step.components)
        if self.over:
            facts |= {"verdict": self.verdict, "truncation": self._episode.truncation}
        shown: SQLObservation = SQLObservation.model_construct(
            done=self.over,
            reward=None if step is None else step.reward,
            metadata=facts,
            question=seen.question,
            schema_info=seen.schema_info,
            result=seen.result,
            error=seen.error,
            step_count=seen.step_count,
            budget_remaining=seen.budget_remaining,
            action_history=list(seen.action_history),
        )
        return shown


class ExploreStage:
    """The explore environment over one task set."""

    name = "explore"
    description = "Answer a question about a database by exploring it: DESCRIBE, SAMPLE, QUERY, then ANSWER."
    action = SQLAction
    observation = SQLObservation
    state = SQLState

    def __init__(self, task_set: TaskSet, grader: AnswerGrader, sandbox: Sandbox, limits: EpisodeLimits) -> None:
        self._tasks: Mapping[str, Task] = task_set.tasks
        self._ids = list(task_set.tasks)
        self._task_set = task_set
        self._grader = grader
        self._sandbox = sandbox
        self._limits = limits
        self._catalogs: dict[str, DatabaseCatalog] = {}

    def tasks(self) -> Sequence[str]:
        """The ids of the tasks, in their order."""
        return self._ids

    def begin(self, task_id: str, seed: int) -> ExplorePlay:
        """A new episode."""
        task = self._tasks[task_id]
        catalog = self._catalogs.get(task.database)
        if catalog is None:
            catalog = self._catalogs[task.database] = self._task_set.catalog(task.database)
        episode = ExploreEpisode(task, catalog, self._grader, seed, self._limits.budget)
        return ExplorePlay(episode, task, seed, self._sandbox, self._limits.deadline_s)


def _lightened(step: Step) -> Step:
    """The step without what nothing asks for again: its result, its outcome, and all of a long action but its start."""
    light = step.outcome is None and len(step.result) <= LIGHT and len(argument_of(step.action)) <= HISTORY_CHARACTERS
    return (
        step
        if light
        else step.model_copy(update={"action": _shortened(step.action), "result": "", "error": "", "outcome": None})
    )


def _shortened(action: ExploreAction) -> ExploreAction:
    text = argument_of(action)
    if len(text) <= HISTORY_CHARACTERS:
        return action
    field = next(name for name in type(action).model_fields if getattr(action, name) is text)
    return action.model_copy(update={field: text[:HISTORY_CHARACTERS]})
