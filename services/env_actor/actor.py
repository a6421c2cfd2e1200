"""The env actor: many episodes at once over one small sandbox, each record handed to the sink.

Invariant: every spec that comes in goes to the sink as one trajectory, graded or faulted, before `play` returns, but
for those whose model may not be asked any more.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray

from services.contracts.grading import Grader, Verdict
from services.contracts.policy import AnyPolicy
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.fetching import Files
from services.env_actor.load import ActorLoad, Watch
from services.env_actor.runner import ActorSetup, EpisodeRunner
from services.env_actor.taking import MakeVerifier

DELIVER_EVERY_S = 5.0
"""Seconds after which what is over is delivered, though others of the same handful still play."""
OBJECTS_A_COLLECTION = 50_000
Deliver = Callable[[Sequence[Trajectory]], Awaitable[None]]


class EpisodeSummary(NamedTuple):
    """What the driver is told of an episode that is safe in the sink."""

    episode_id: str
    policy: str
    verdict: Verdict
    steps: int


class EnvActor:
    """Plays batches of episodes. `policies` and `grader` are made where the actor runs, from picklable parts."""

    def __init__(
        self,
        setup: ActorSetup,
        policies: Mapping[str, Callable[[], AnyPolicy]],
        grader: Callable[[Path], Grader],
        deliver: Deliver,
        driver: Files | None = None,
        verifier: MakeVerifier | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._runner = EpisodeRunner(setup, policies, grader, driver, verifier)
        self._deliver = deliver
        self._watch = watch
        self._in_hand = 0

    async def play(self, specs: Sequence[EpisodeSpec]) -> list[EpisodeSummary]:
        """Play the episodes and deliver their trajectories; a summary of each that was played, in order."""
        playing = [asyncio.create_task(self._runner.play(spec)) for spec in specs]
        left: set[asyncio.Task[Trajectory | None]] = set(playing)
        self._in_hand += len(specs)
        try:
            while left:
                done, left = await asyncio.wait(left, timeout=DELIVER_EVERY_S)
                await self._deliver_those(task.result() for task in playing if task in done)
        finally:
            self._in_hand -= len(specs)
            for task in left:
                task.cancel()
        if self._watch is not None:
            self._watch(self.load())
        return [summary_of(played) for task in playing if (played := task.result()) is not None]

    async def _deliver_those(self, played: Iterable[Trajectory | None]) -> None:
        trajectories = [trajectory for trajectory in played if trajectory is not None]
        if trajectories:
            await self._deliver(trajectories)

    @ray.method(max_task_retries=-1)
    async def ready(self) -> bool:
        """True once the actor is placed and made."""
        return True

    @ray.method(max_task_retries=-1)
    async def open(self) -> bool:
        """True once the task set is on this node and the sandbox is warm. Raises BadInput, Infrastructure."""
        await self._runner.open()
        await self._deliver(())
        _settle()
        return True

    def load(self) -> ActorLoad:
        """What the actor holds at this moment."""
        return self._runner.load(self._in_hand)

    def cores(self) -> list[int]:
        """The cores that the actor and its children run on."""
        return sorted(os.sched_getaffinity(0))

    def close(self) -> None:
        """End the sandbox children."""
        self._runner.close()


def _settle() -> None:
    """Keep the garbage collector from looking at what is loaded by now: it lives as long as the actor."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_A_COLLECTION)


def summary_of(trajectory: Trajectory) -> EpisodeSummary:
    """What the driver shows of a trajectory while the run goes on."""
    return EpisodeSummary(
        episode_id=trajectory.spec.episode_id,
        policy=trajectory.spec.policy,
        verdict=trajectory.verdict,
        steps=len(trajectory.steps),
    )


RemoteEnvActor: Any = ray.remote(EnvActor)
