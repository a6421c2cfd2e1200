"""The OpenEnv server wired up: task set, gold, sandbox and stages behind one app, in one process without Ray."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic import Field
from starlette.applications import Starlette

from cluster.config import BUILTIN
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.env_actor.openenv.app import make_app
from services.env_actor.openenv.explore import ExploreStage
from services.env_actor.openenv.figures import FloorFigures
from services.env_actor.openenv.floor import Floor, FloorLimits
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


class OpenEnvConfig(Record):
    """What is served."""

    tasks: str = BUILTIN
    default: str = Field(default="explore", description="the environment at the root")
    limits: EpisodeLimits = EpisodeLimits()
    sandbox: SandboxLimits = SandboxLimits()
    floor: FloorLimits = FloorLimits()
    web: bool = Field(default=False, description="OpenEnv's page at /web, over the default environment")


def config_of_environment() -> OpenEnvConfig:
    """The config that the process's environment variables ask for, as `assay serve openenv` reads them."""
    web = os.environ.get("ENABLE_WEB_INTERFACE", "").lower() in ("1", "true", "yes")
    return OpenEnvConfig(tasks=os.environ.get("ASSAY_TASKS", BUILTIN), web=web)


def openenv_app(config: OpenEnvConfig, say: Callable[[], None] = lambda: None) -> Starlette:
    """The app that serves the environments; `say` is called when it is ready. Raises BadInput."""
    task_set = open_task_set(config.tasks)
    task_set.check_databases(task_set.manifest.databases)
    pool = SandboxPool({name: task_set.database_path(name) for name in task_set.manifest.databases}, config.sandbox)
    grader = GoldGrader.read(task_set.gold_path)
    stages: Sequence[Stage] = [ExploreStage(task_set, grader, pool, config.limits)]
    names = [stage.name for stage in stages]
    if config.default not in names:
        raise BadInput(f"no environment {config.default} to serve at the root; there is: {', '.join(names)}")

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        async with pool:
            pool.warm_up()
            say()
            yield

    os.environ["ENABLE_WEB_INTERFACE"] = str(config.web).lower()  # read by OpenEnv when the app is made
    return make_app(stages, config.default, Floor(config.floor, FloorFigures()), life)


def serve_until_stopped(config: OpenEnvConfig, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `say` hears the base URL. Raises BadInput."""
    import uvicorn

    app = openenv_app(config, lambda: say(f"http://{host}:{port}"))
    uvicorn.run(app, host=host, port=port, log_level="warning", **SERVER)
