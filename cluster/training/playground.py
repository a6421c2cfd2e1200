"""The playground: the structured tier as PPO's EnvRunners see it, with tasks of some databases, easy ones first."""

import random
from collections.abc import Sequence
from typing import Any, get_args

import gymnasium
import numpy as np

from cluster.structured_gym import Seen, structured_gym
from cluster.tasksets.opening import open_task_set
from cluster.training.module import spaces_of
from services.contracts.tasks import Difficulty, EpisodeLimits, Task
from services.policy.tier.operations import MOST

DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
GROWN = 0.5
"""The share of an environment's planned episodes after which every difficulty is played."""


class Playground(gymnasium.Env[Seen, np.int64]):
    """Draws its tasks by a seed of its own; features are half floats. An episode of too many operations ends unpaid."""

    def __init__(self, tasks: str, task_ids: Sequence[str], most: int, episodes: int, seed: int) -> None:
        self.observation_space, self.action_space = spaces_of(most)
        self._inner = structured_gym(tasks, most, EpisodeLimits().budget, partials=False)
        known = open_task_set(tasks).tasks
        self._tasks = [known[task_id] for task_id in task_ids]
        self._dice = random.Random(f"playground/{seed}")
        self._planned, self._played, self._taken = episodes, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """Begin an episode of a task that is not too hard yet."""
        task = self._dice.choice(curriculum(self._tasks, self._played / self._planned))
        self._played, self._taken = self._played + 1, 0
        seen, info = self._inner.reset(seed=self._dice.getrandbits(31), options={"task_id": task.task_id})
        return _halved(seen), info

    def step(self, action: np.int64) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take one of the candidates."""
        seen, reward, terminated, truncated, info = self._inner.step(action)
        self._taken += 1
        return _halved(seen), reward, terminated, truncated or self._taken >= MOST, info

    def close(self) -> None:
        """End the sandbox."""
        self._inner.close()


def curriculum(tasks: Sequence[Task], progress: float) -> Sequence[Task]:
    """The tasks that may be drawn: the easiest level at first, one more with each part of GROWN, then all."""
    levels = 1 + int(progress / GROWN * (len(DIFFICULTIES) - 1))
    allowed = [task for task in tasks if task.difficulty in DIFFICULTIES[:levels]]
    return allowed or tasks


def _halved(seen: Seen) -> Seen:
    return {
        "candidates": seen["candidates"].astype(np.float16),
        "state": seen["state"].astype(np.float16),
        "action_mask": seen["action_mask"],
    }
