"""`assay serve openenv`: the environments for OpenEnv's clients."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.config import BUILTIN, BUILTIN_ANALYST
from cluster.listening import check_port

SCALE = "small"


def serve_openenv(
    tasks: Annotated[
        str, typer.Option(envvar="ASSAY_TASKS", help="Explore's task set: a folder, its URL, or 'builtin'.")
    ] = BUILTIN,
    analyst_tasks: Annotated[
        str, typer.Option(envvar="ASSAY_ANALYST_TASKS", help="The analyst's task set, likewise.")
    ] = BUILTIN_ANALYST,
    etl_job: Annotated[
        list[Path] | None, typer.Option(metavar="JOB", help="For /etl, as for optimize; may be repeated. [built-in]")
    ] = None,
    etl_scale: Annotated[
        str, typer.Option(envvar="ASSAY_ETL_SCALE", help="Of the built-in jobs: tiny, small, quarter, medium, large.")
    ] = SCALE,
    etl_out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave each graded ETL episode there, for assay regrade.")
    ] = None,
    default: Annotated[str, typer.Option(help="The environment at the root.")] = "explore",
    sessions: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 256,
    idle: Annotated[float, typer.Option(min=1, help="Seconds of silence after which a connection is ended.")] = 600,
    web: Annotated[bool, typer.Option("--web", envvar="ENABLE_WEB_INTERFACE", help="OpenEnv's page at /web.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    replicas: Annotated[int, typer.Option(min=0, help="On Ray Serve, up to so many; 0: this process only.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the environments over OpenEnv until Ctrl-C."""
    port = check_port(host, port)
    from cluster.etl.serving import EtlServing
    from cluster.openenv import OpenEnvConfig, serve_until_stopped
    from services.env_actor.openenv.etl import Room
    from services.env_actor.openenv.floor import FloorLimits

    config = OpenEnvConfig(
        tasks=tasks,
        analyst_tasks=analyst_tasks,
        etl=EtlServing(jobs=tuple(etl_job or ()), scale=etl_scale, out=etl_out, room=Room(idle_s=idle)),
        default=default,
        floor=FloorLimits(sessions=sessions, idle_s=idle),
        web=web,
    )
    if replicas:
        from cluster.openenv_replicas import replicated
        from cluster.serving import serve_app_until_stopped

        serve_app_until_stopped(replicated(config, replicas), "openenv", host, port, _say)
    else:
        serve_until_stopped(config, host, port, _say)


def _say(url: str) -> None:
    print(url, flush=True)
