"""The OpenEnv server wired up: task sets, jobs, gold, sandbox and stages behind one app, in one process without Ray."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from pydantic import Field
from starlette.applications import Starlette

from cluster.config import BUILTIN, BUILTIN_ANALYST
from cluster.etl.serving import EtlServing, etl_stage
from cluster.tasksets.opening import open_task_set
from cluster.verifying import verifier_for
from services.contracts.errors import BadInput, Infrastructure
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.env_actor.analyst.episode import BUDGET
from services.env_actor.openenv.analyst import AnalystStage
from services.env_actor.openenv.app import make_app
from services.env_actor.openenv.explore import ExploreStage
from services.env_actor.openenv.figures import FloorFigures
from services.env_actor.openenv.floor import Floor, FloorLimits
from services.env_actor.openenv.playing import EpisodeStage
from services.env_actor.openenv.stage import Stage
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

SERVER: dict[str, Any] = {
    "ws_max_size": 1 << 20,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 60.0,
    "ws_per_message_deflate": False,
    "timeout_graceful_shutdown": 5,
}
"""How uvicorn serves. A connection that answers no ping in the time is gone; a trainer may be busy for most of it."""


Wanted = tuple[type[EpisodeStage[Any, Any]], str, EpisodeLimits]


class OpenEnvConfig(Record):
    """What is served. The sandboxes of explore and the analyst together stay within what an env actor may use."""

    tasks: str = Field(default=BUILTIN, description="the task set of explore")
    analyst_tasks: str = Field(default=BUILTIN_ANALYST, description="the task set of the analyst")
    default: str = Field(default="explore", description="the environment at the root")
    limits: EpisodeLimits = EpisodeLimits()
    analyst_limits: EpisodeLimits = EpisodeLimits(budget=BUDGET)
    sandbox: SandboxLimits = SandboxLimits(children=4)
    etl: EtlServing = EtlServing()
    floor: FloorLimits = FloorLimits()
    web: bool = Field(default=False, description="OpenEnv's page at /web, over the default environment")


def config_of_environment() -> OpenEnvConfig:
    """The config that the process's environment variables ask for, as `assay serve openenv` reads them."""
    web = os.environ.get("ENABLE_WEB_INTERFACE", "").lower() in ("1", "true", "yes")
    return OpenEnvConfig(
        tasks=os.environ.get("ASSAY_TASKS", BUILTIN),
        analyst_tasks=os.environ.get("ASSAY_ANALYST_TASKS", BUILTIN_ANALYST),
        etl=EtlServing(scale=os.environ.get("ASSAY_ETL_SCALE", EtlServing().scale)),
        web=web,
    )


def openenv_app(config: OpenEnvConfig) -> Starlette:
    """The app that serves the environments. Raises BadInput."""
    wanted: list[Wanted] = [
        (ExploreStage, config.tasks, config.limits),
        (AnalystStage, config.analyst_tasks, config.analyst_limits),
    ]
    pools: list[SandboxPool] = []
    stages: list[Stage] = []
    for stage, source, limits in wanted:
        task_set = open_task_set(source)
        task_set.check_databases(task_set.manifest.databases)
        paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
        pools.append(SandboxPool(paths, config.sandbox))
        grader = GoldGrader.read(task_set.gold_path)
        stages.append(stage(task_set, grader, pools[-1], limits, verifier_for(task_set, grader, pools[-1])))
    etl = etl_stage(config.etl)
    stages.append(etl)
    names = [stage.name for stage in stages]
    if config.default not in names:
        raise BadInput(f"no environment {config.default} to serve at the root; there is: {', '.join(names)}")

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            opened.callback(etl.close)
            for pool in pools:
                await opened.enter_async_context(pool)
                pool.warm_up()
            yield

    os.environ["ENABLE_WEB_INTERFACE"] = str(config.web).lower()  # read by OpenEnv when the app is made
    return make_app(stages, config.default, Floor(config.floor, FloorFigures()), life)


def serve_until_stopped(config: OpenEnvConfig, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `say` hears the base URL once one can connect. Raises BadInput, Infrastructure."""
    import uvicorn

    class Telling(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                say(f"http://{host}:{port}")

    server = Telling(uvicorn.Config(openenv_app(config), host=host, port=port, log_level="warning", **SERVER))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise Infrastructure(f"the server could not be started at {host}:{port}; the lines above say why")
