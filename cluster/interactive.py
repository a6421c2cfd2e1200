"""A person plays one task in the terminal, by the rules and rewards of any other agent."""

import asyncio
import json
from collections.abc import Callable

from cluster.verifying import verifier_for
from services.contracts.actions import Action, parse_action, parse_sql_action
from services.contracts.observation import AnyObservation, Observation, SQLObservation
from services.contracts.tasks import Environment, EpisodeLimits, Task
from services.env_actor.analyst.episode import BUDGET
from services.env_actor.episode import Episode, episode_of, sandbox_of
from services.env_actor.taking import Taken, Taker
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

HELP: dict[Environment, str] = {
    "explore": "actions: DESCRIBE table, SAMPLE table, QUERY select …, ANSWER value",
    "analyst": "actions: select …, or DONE select … to submit; DONE alone submits the last statement",
}
BUDGETS: dict[Environment, int] = {"explore": EpisodeLimits().budget, "analyst": BUDGET}


def play(task_set: TaskSet, task: Task, ask: Callable[[str], str], say: Callable[[str], None]) -> Episode:
    """Play until the episode is over. `ask` shows a prompt and returns a line; its EOFError ends the play."""
    catalog = task_set.catalog(task.database)
    grader = GoldGrader.read(task_set.gold_path)
    budget = BUDGETS[task.environment]
    episode = episode_of(task, catalog, grader, seed=0, limits=EpisodeLimits(budget=budget))
    say(f"{_opening(episode.reset())}\n{HELP[task.environment]}")
    databases = {name: task_set.database_path(name) for name in task_set.manifest.databases}
    with asyncio.Runner() as runner:
        pool = SandboxPool(databases, SandboxLimits(children=1))
        sandbox, verifier = sandbox_of(task, pool, grader), verifier_for(task_set, grader, pool)
        taker = Taker(episode, task, sandbox, EpisodeLimits().deadline_s, verifier)
        try:
            _loop(episode, budget, task, ask, say, lambda action: runner.run(taker.take(action)))
        finally:
            pool.close()
    return episode


def _loop(
    episode: Episode,
    budget: int,
    task: Task,
    ask: Callable[[str], str],
    say: Callable[[str], None],
    take: Callable[[Action], Taken],
) -> None:
    parse: Callable[[str], Action] = parse_action if task.environment == "explore" else parse_sql_action
    while not episode.over:
        try:
            line = ask(f"[{budget - len(episode.steps)} steps left] ")
        except EOFError:
            return
        take(parse(line))
        step = episode.steps[-1]
        say(step.error or step.result)
        say(f"reward {step.reward:+.3f}, so far {episode.reward():+.3f}")


def _opening(first: AnyObservation) -> str:
    match first:
        case Observation():
            return f"{first.question}\n{first.schema_info}"
        case SQLObservation():
            tables = (f"{table} {json.dumps(columns)}" for table, columns in first.schema_.items())
            return "\n".join([first.question, *tables])
