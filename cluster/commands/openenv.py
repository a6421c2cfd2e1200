"""`assay serve openenv`: the environments for OpenEnv's clients."""

from typing import Annotated

import typer

from cluster.config import BUILTIN, BUILTIN_ANALYST
from cluster.listening import check_port


def serve_openenv(
    tasks: Annotated[
        str, typer.Option(envvar="ASSAY_TASKS", help="Explore's task set: a folder, its URL, or 'builtin'.")
    ] = BUILTIN,
    analyst_tasks: Annotated[
        str, typer.Option(envvar="ASSAY_ANALYST_TASKS", help="The analyst's task set, likewise.")
    ] = BUILTIN_ANALYST,
    default: Annotated[str, typer.Option(help="The environment at the root.")] = "explore",
    sessions: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 256,
    idle: Annotated[float, typer.Option(min=1, help="Seconds of silence after which a connection is ended.")] = 600,
    web: Annotated[bool, typer.Option("--web", envvar="ENABLE_WEB_INTERFACE", help="OpenEnv's page at /web.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the environments over OpenEnv, in this process and without Ray, until Ctrl-C."""
    port = check_port(host, port)
    from cluster.openenv import OpenEnvConfig, serve_until_stopped
    from services.env_actor.openenv.floor import FloorLimits

    floor = FloorLimits(sessions=sessions, idle_s=idle)
    config = OpenEnvConfig(tasks=tasks, analyst_tasks=analyst_tasks, default=default, floor=floor, web=web)
    serve_until_stopped(config, host, port, lambda url: print(url, flush=True))
