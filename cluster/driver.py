"""Hands batches of episodes to env actors, a bounded number at a time, until each one is safe in a sink.

An actor that dies is restarted by Ray, and Ray plays its batch again. A batch that ends its actor three times is split
and its episodes are played one by one; one that still ends its actor is recorded as a fault.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import ray
from ray.exceptions import RayActorError, WorkerCrashedError

from cluster.config import ActorsConfig
from cluster.plan import Batch, Shares
from cluster.remote import result_of
from cluster.wiring import Fleet
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.actor import EpisodeSummary
from services.env_actor.play import faulted
from services.env_actor.taskset import TaskSet

SPARE = 3
"""Batches that an actor has beyond those that it can play at once: the next one is there when a place is free."""
CRASH_ATTEMPTS = 3
OnDone = Callable[[Sequence[EpisodeSummary]], None]


class Driver:
    """Plays planned episodes on a fleet; `on_done` hears of each batch that is safe."""

    def __init__(self, fleet: Fleet, task_set: TaskSet, on_done: OnDone) -> None:
        self._fleet = fleet
        self._task_set = task_set
        self._on_done = on_done
        self._suspects: deque[EpisodeSpec] = deque()

    def drive(self, specs: Sequence[EpisodeSpec], actors: ActorsConfig) -> None:
        """Play all episodes. Raises Infrastructure if they cannot be stored, and whatever is our own bug."""
        shares = Shares(specs, actors.batch, self._fleet.actors)
        running: dict[Any, tuple[Any, Batch]] = {}
        joining = dict(self._fleet.joining)
        places = range(ceil(actors.episodes_at_once / actors.batch) + SPARE)
        idle = deque(actor for _ in places for actor in self._fleet.placed)
        while shares or running:
            while shares and idle:
                actor = idle.popleft()
                handful = shares.take(actor)
                running[actor.play.remote(handful)] = (actor, handful)
            done, _ = ray.wait([*running, *joining], num_returns=1)
            if done[0] in joining:
                result_of(done[0])
                idle.extend([joining.pop(done[0])] * len(places))
                continue
            actor, handful = running.pop(done[0])
            self._finish(done[0], handful)
            idle.append(actor)
        while self._suspects:
            self._play_suspect(self._suspects.popleft())

    def _finish(self, reference: Any, handful: Batch) -> None:
        try:
            self._on_done(result_of(reference))
        except (RayActorError, WorkerCrashedError):
            self._suspects.extend(handful)

    def _play_suspect(self, spec: EpisodeSpec) -> None:
        """One episode alone, so that only the guilty one is given up."""
        try:
            self._on_done(result_of(self._fleet.placed[0].play.remote((spec,))))
        except (RayActorError, WorkerCrashedError) as error:
            task = self._task_set.tasks[spec.task_id]
            self._fleet.store([faulted(spec, task, error, CRASH_ATTEMPTS)])
            summary = EpisodeSummary(episode_id=spec.episode_id, policy=spec.policy, verdict="ungraded", steps=0)
            self._on_done([summary])
