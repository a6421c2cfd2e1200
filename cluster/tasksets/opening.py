"""Opens the task set that a config or a command names: a folder, a URL, or one of the built-in ones."""

import asyncio
from pathlib import Path

from cluster.config import BUILTIN, BUILTIN_ANALYST
from services.env_actor.fetching import cache_folder, fetch, is_url
from services.env_actor.taskset import TaskSet


def open_task_set(source: str, task_set_hash: str | None = None) -> TaskSet:
    """The task set on this machine, made or fetched if need be. A hash spares the look at the URL. Raises BadInput."""
    if source == BUILTIN:
        from cluster.tasksets.generated import builtin_folder

        return TaskSet(asyncio.run(builtin_folder()))
    if source == BUILTIN_ANALYST:
        from cluster.tasksets.analyst.generated import analyst_folder

        return TaskSet(asyncio.run(analyst_folder()))
    if is_url(source):
        return TaskSet(fetch(source, task_set_hash, cache_folder()))
    return TaskSet(Path(source))


def lasting_source(source: str, task_set: TaskSet) -> str:
    """The source as it was named, so that it can be opened from elsewhere: only a folder's path is made absolute."""
    return source if source in (BUILTIN, BUILTIN_ANALYST) or is_url(source) else str(task_set.folder.resolve())
