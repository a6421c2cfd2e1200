"""The whole examination: a real sandbox child, looked at and spoken to; the machine; Ray; the optional parts."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from cluster.config import BUILTIN
from cluster.doctor.checks import Check, Diagnosis, Group, judged
from cluster.doctor.containment import layers
from cluster.doctor.machine import machine_checks
from cluster.doctor.parts import part_checks
from cluster.doctor.probes import LIMITS, probe
from cluster.doctor.process import holders, view
from cluster.doctor.ray_start import ray_checks
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import AssayError, SandboxFault
from services.env_actor.taskset import TaskSet
from services.sandbox.pool import SandboxPool


def examine(progress: Callable[[int], None]) -> Diagnosis:
    """Look at everything; `progress` is told how many of the STEPS are done."""
    found: list[Check] = []
    for done, step in enumerate(STEPS, 1):
        found.extend(step())
        progress(done)
    return Diagnosis(checks=tuple(found))


def sandbox_checks() -> tuple[Check, ...]:
    """The layers of a child over a built-in database, and what becomes of statements sent to it."""
    try:
        task_set = open_task_set(BUILTIN)
    except (AssayError, OSError) as error:
        advice = "make room in the user's cache folder (XDG_CACHE_HOME names another), or remove what is damaged in it"
        return (_broken("sandbox child", "the built-in databases can be made", error, advice),)
    name = min(task_set.manifest.databases)
    return asyncio.run(_look_and_speak(task_set, name))


async def _look_and_speak(task_set: TaskSet, name: str) -> tuple[Check, ...]:
    database = task_set.database_path(name).resolve()
    async with SandboxPool({name: database}, LIMITS) as pool:
        try:
            await pool.run(name, "SELECT 1")  # the child is there from its first statement on
        except SandboxFault as error:
            advice = "read the message, and mend what it names (memory, open files, processes: ulimit -a)"
            return (_broken("sandbox child", "a sandbox child can be started", error, advice),)
        seen = _layers_of_the_child(database)
        return (*seen, *[check async for check in probe(pool, name, task_set.catalog(name).tables[0])])


def _layers_of_the_child(database: Path) -> tuple[Check, ...]:
    try:
        (pid,) = holders(database, os.getpid())
        return layers(view(pid), database)
    except (OSError, ValueError) as error:
        advice = "mount /proc without hidepid, and allow this user to look at its own processes"
        return (_broken("sandbox child", "a child can be looked at", error, advice),)


def _broken(group: Group, name: str, error: Exception, advice: str) -> Check:
    return judged(group, name, False, " ".join(str(error).split())[:300], advice, otherwise="failed")


STEPS: tuple[Callable[[], tuple[Check, ...]], ...] = (sandbox_checks, machine_checks, ray_checks, part_checks)
