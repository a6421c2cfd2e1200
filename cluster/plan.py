"""Which episodes a run has: a function of its config and task set, and of nothing else."""

import random
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from math import ceil
from typing import Generic, TypeVar

from cluster.config import RolloutConfig
from services.contracts.errors import BadInput
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.taskset import TaskSet

Batch = tuple[EpisodeSpec, ...]
Player = TypeVar("Player", bound=Hashable)


class Shares(Generic[Player]):
    """The episodes that wait, a run of neighbours for each player: what these ask alike is then in its own cache.

    A player whose run is used up takes the second half of the longest one, at most `size` episodes at a time.
    """

    def __init__(self, specs: Sequence[EpisodeSpec], size: int, players: Sequence[Player]) -> None:
        run = ceil(len(specs) / len(players))
        self._size = size
        self._left = {player: deque(specs[n * run : (n + 1) * run]) for n, player in enumerate(players)}

    def __bool__(self) -> bool:
        return any(self._left.values())

    def take(self, player: Player) -> Batch:
        """The next batch for a player; an empty one if none waits."""
        own = self._left[player]
        if own:
            return tuple(own.popleft() for _ in range(min(self._size, len(own))))
        longest = max(self._left.values(), key=len)
        taken = [longest.pop() for _ in range(min(self._size, ceil(len(longest) / 2)))]
        return tuple(reversed(taken))


def plan_episodes(config: RolloutConfig, task_set: TaskSet, limit: int | None = None) -> list[EpisodeSpec]:
    """Every planned episode, tasks of one database together so that their results are found in the cache."""
    chosen = _chosen(config, task_set)
    task_set_hash = task_set.manifest.task_set_hash()
    run_id = f"{config.name}-{config.config_hash()[:8]}"
    specs = [
        EpisodeSpec(
            run_id=run_id,
            task_set_hash=task_set_hash,
            task_id=task_id,
            policy=policy,
            seed=config.seed,
            sample_index=sample,
        )
        for task_id in chosen
        for policy in config.policies
        for sample in range(config.samples)
    ]
    return specs if limit is None else specs[:limit]


def batches(specs: Sequence[EpisodeSpec], size: int) -> Iterator[Batch]:
    """The episodes in handfuls, in order."""
    for start in range(0, len(specs), size):
        yield tuple(specs[start : start + size])


def _chosen(config: RolloutConfig, task_set: TaskSet) -> Iterable[str]:
    ids, databases = list(task_set.tasks), config.tasks.databases
    if databases is not None:
        unknown = sorted(set(databases) - set(task_set.manifest.databases))
        if unknown:
            raise BadInput(f"tasks.databases: the task set {task_set.manifest.name} has no {unknown[0]}")
        ids = [task_id for task_id in ids if task_set.tasks[task_id].database in databases]
    wanted = config.tasks.sample
    if wanted is not None:
        if wanted > len(ids):
            raise BadInput(f"tasks.sample is {wanted}, but {task_set.manifest.name} has {len(ids)} such tasks")
        ids = random.Random(f"tasks/{config.seed}").sample(ids, wanted)
    return sorted(ids, key=lambda task_id: (task_set.tasks[task_id].database, task_id))
