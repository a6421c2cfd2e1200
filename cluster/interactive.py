"""A person plays one task in the terminal, by the rules and rewards of any other agent."""

import asyncio
from collections.abc import Callable

from services.contracts.actions import ExploreAction, parse_action
from services.contracts.observation import Observation
from services.contracts.tasks import EpisodeLimits, Task
from services.env_actor.explore import ExploreEpisode
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

HELP = "actions: DESCRIBE table, SAMPLE table, QUERY select …, ANSWER value"


def play(task_set: TaskSet, task: Task, ask: Callable[[str], str], say: Callable[[str], None]) -> ExploreEpisode:
    """Play until the episode is over. `ask` shows a prompt and returns a line; its EOFError ends the play."""
    catalog = task_set.catalog(task.database)
    grader = GoldGrader.read(task_set.gold_path)
    episode = ExploreEpisode(task, catalog, grader, seed=0, budget=EpisodeLimits().budget)
    first = episode.reset()
    say(f"{first.question}\n{first.schema_info}\n{HELP}")
    with asyncio.Runner() as runner:
        pool = SandboxPool({task.database: task_set.database_path(task.database)}, SandboxLimits(children=1))
        try:
            _loop(episode, first, ask, say, lambda action: runner.run(_take(episode, pool, task, action)))
        finally:
            pool.close()
    return episode


def _loop(
    episode: ExploreEpisode,
    first: Observation,
    ask: Callable[[str], str],
    say: Callable[[str], None],
    take: Callable[[ExploreAction], Observation],
) -> None:
    observation = first
    while not episode.over:
        try:
            line = ask(f"[{observation.budget_remaining} steps left] ")
        except EOFError:
            return
        observation = take(parse_action(line))
        say(observation.error or observation.result)
        say(f"reward {episode.steps[-1].reward:+.3f}, so far {episode.reward():+.3f}")


async def _take(episode: ExploreEpisode, pool: SandboxPool, task: Task, action: ExploreAction) -> Observation:
    sql = episode.statement(action)
    outcome = None if sql is None else (await pool.run(task.database, sql))[0]
    return episode.apply(action, outcome)
