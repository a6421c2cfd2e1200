"""Hands batches of episodes to env actors, a bounded number at a time, until each one is safe in a sink.

A batch whose actor died is handed out again, to whoever is free: Ray restarts the actor itself, which may have to wait
for ever if its node is lost and no other has room. A batch that ended its actor three times is split and its
episodes are played one by one; one that still ends its actor is recorded as a fault.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from ray.exceptions import RayActorError, WorkerCrashedError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

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
GONE = (RayActorError, WorkerCrashedError)
OnDone = Callable[[Sequence[EpisodeSummary]], None]


class Driver:
    """Plays planned episodes on a fleet; `on_done` hears of each batch that is safe."""

    def __init__(self, fleet: Fleet, task_set: TaskSet, on_done: OnDone) -> None:
        self._fleet = fleet
        self._task_set = task_set
        self._on_done = on_done
        self._deaths: Counter[Batch] = Counter()
        self._again: deque[Batch] = deque()
        self._suspects: deque[EpisodeSpec] = deque()

    def drive(self, specs: Sequence[EpisodeSpec], actors: ActorsConfig) -> None:
        """Play all episodes. Raises Infrastructure if they cannot be stored, and whatever is our own bug."""
        shares = Shares(specs, actors.batch, self._fleet.actors)
        places = ceil(actors.episodes_at_once / actors.batch) + SPARE
        idle = deque(actor for _ in range(places) for actor in self._fleet.placed)
        joining = {reference: (actor, places) for reference, actor in self._fleet.joining.items()}
        running: dict[Any, tuple[Any, Batch]] = {}
        while shares or self._again or running:
            while idle and (shares or self._again):
                actor = idle.popleft()
                handful = self._again.popleft() if self._again else shares.take(actor)
                running[actor.play.remote(handful)] = actor, handful
            reference = self._fleet.first([*running, *joining], playing=bool(running))
            if reference in joining:
                result_of(reference)
                actor, free = joining.pop(reference)
                idle.extend([actor] * free)
                continue
            actor, handful = running.pop(reference)
            if self._finish(reference, handful):
                idle.append(actor)
            else:
                joining[actor.ready.remote()] = actor, 1 + idle.count(actor)
                idle = deque(other for other in idle if other != actor)
        while self._suspects:
            self._play_suspect(self._suspects.popleft())

    def _finish(self, reference: Any, handful: Batch) -> bool:
        """Whether the batch is safe; if not, it is to be played again."""
        try:
            self._on_done(result_of(reference))
        except GONE:
            self._deaths[handful] += 1
            if self._deaths[handful] < CRASH_ATTEMPTS:
                self._again.append(handful)
            else:
                self._suspects.extend(handful)
            return False
        return True

    def _play_suspect(self, spec: EpisodeSpec) -> None:
        """One episode alone, so that only the guilty one is given up."""
        alone = Retrying(retry=retry_if_exception_type(GONE), stop=stop_after_attempt(CRASH_ATTEMPTS), reraise=True)
        try:
            self._on_done(alone(self._play_alone, spec))
        except GONE as error:
            task = self._task_set.tasks[spec.task_id]
            self._fleet.store([faulted(spec, task, error, CRASH_ATTEMPTS)])
            summary = EpisodeSummary(episode_id=spec.episode_id, policy=spec.policy, verdict="ungraded", steps=0)
            self._on_done([summary])

    def _play_alone(self, spec: EpisodeSpec) -> Sequence[EpisodeSummary]:
        ready = {actor.ready.remote(): actor for actor in self._fleet.actors}
        actor = ready[self._fleet.first(list(ready), playing=False)]
        summaries: Sequence[EpisodeSummary] = result_of(actor.play.remote((spec,)))
        return summaries
