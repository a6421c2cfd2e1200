"""Plays the analyst's three tasks with a model, one after the other.

Invariant: each task has one [START] and one [END], whatever happens between them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from cluster.inference.lines import Ended, Log, Named
from services.contracts.actions import Action
from services.contracts.errors import AssayError
from services.contracts.policy import AnyTurn
from services.contracts.tasks import Task
from services.env_actor.analyst.episode import BUDGET, AnalystEpisode
from services.env_actor.analyst.trials import TrialSandbox
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

TASKS = (
    Named(task_id="fix_broken_join", difficulty="easy"),
    Named(task_id="category_revenue", difficulty="medium"),
    Named(task_id="churn_analysis", difficulty="hard"),
)
TASK_S = 360.0
"""Seconds for one task: three of them stay under 20 minutes."""
Act = Callable[[AnyTurn], Awaitable[Action]]
Say = Callable[[str], None]
NOTHING = Ended(steps=(), reward=0.0, score=0.0, solved=False)


class Desk:
    """What the tasks are played with."""

    def __init__(self, task_set: TaskSet, pool: SandboxPool) -> None:
        self._task_set = task_set
        self._grader = GoldGrader.read(task_set.gold_path)
        self._pool = pool

    def begin(self, task_id: str) -> tuple[Task, AnalystEpisode]:
        """A task of the set, and a new episode of it."""
        task = self._task_set.tasks[task_id]
        return task, AnalystEpisode(task, self._task_set.catalog(task.database), self._grader, BUDGET)

    async def play(self, task: Task, episode: AnalystEpisode, act: Act, log: Log, say: Say) -> None:
        """Play the episode to its end. Raises what the policy raises, SandboxFault."""
        sandbox = TrialSandbox(self._pool, self._grader, task.task_id)
        turn: AnyTurn = episode.turn(seed=0)
        while not episode.over:
            action = await act(turn)
            sql = episode.statement(action)
            outcome = None if sql is None else (await sandbox.run(task.database, sql))[0]
            seen = episode.apply(action, outcome)
            say(log.step(len(episode.steps), episode.steps[-1], episode.over))
            turn = turn.then(action, seen)


async def infer(
    open_tasks: Callable[[], TaskSet], act: Act, log: Log, say: Say, task_s: float = TASK_S
) -> Sequence[AssayError | TimeoutError]:
    """Play the three tasks. Returns what broke tasks off, which is never a score of theirs."""
    try:
        task_set = await asyncio.to_thread(open_tasks)
    except AssayError as error:
        for named in TASKS:
            say(log.start(named))
            say(log.end(NOTHING))
        return [error]
    names = task_set.manifest.databases
    problems: list[AssayError | TimeoutError] = []
    async with SandboxPool({name: task_set.database_path(name) for name in names}, SandboxLimits(children=4)) as pool:
        desk = Desk(task_set, pool)
        for named in TASKS:
            say(log.start(named))
            task, episode = desk.begin(named.task_id)
            try:
                async with asyncio.timeout(task_s):
                    await desk.play(task, episode, act, log, say)
            except (AssayError, TimeoutError) as error:
                problems.append(error)
            finally:
                say(log.end(ended(episode)))
    return problems


def ended(episode: AnalystEpisode) -> Ended:
    """How the episode stands at its end; without a submission there is no score."""
    score = episode.score if episode.terminated else 0.0
    solved = episode.over and episode.verdict() == "correct"
    return Ended(steps=tuple(episode.steps), reward=episode.reward(), score=score, solved=solved)
