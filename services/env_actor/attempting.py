"""Plays an episode up to three times, within its wall time: what comes of it is a trajectory, graded or faulted.

Invariant: an episode ends in time whatever its policy and its sandbox do, and one that was cut off is a fault, never a
truncation: a policy that stays silent says nothing about the agent. What it was at is cancelled, statements too.
"""

import asyncio
from collections.abc import Iterator
from itertools import count

from services.contracts.errors import Infrastructure, Overdue
from services.contracts.tasks import Task
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.play import Player, faulted

ATTEMPTS = 3


async def attempt(player: Player, spec: EpisodeSpec, task: Task, catalog: DatabaseCatalog, wall_s: float) -> Trajectory:
    """The episode, or the fault that it ended in. Raises OverBudget if its model may not be asked, BadInput."""
    clock = asyncio.timeout(wall_s)
    begun = count(1)
    try:
        async with clock:
            return await _attempts(player, spec, task, catalog, begun)
    except TimeoutError:
        if not clock.expired():
            raise
        overdue = Overdue(f"the episode was not over after {wall_s:g} s (limits.wall_s)")
        return faulted(spec, task, overdue, next(begun) - 1)


async def _attempts(
    player: Player, spec: EpisodeSpec, task: Task, catalog: DatabaseCatalog, begun: Iterator[int]
) -> Trajectory:
    for number in begun:
        try:
            trajectory = await player.play(spec, task, catalog)
        except Infrastructure as error:
            if number == ATTEMPTS:
                return faulted(spec, task, error, ATTEMPTS)
            continue
        return trajectory if number == 1 else trajectory.model_copy(update={"attempts": number})
    raise AssertionError("counting does not end")
