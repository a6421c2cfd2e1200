"""`assay serve green-agent`: an A2A server that assesses remote agents on a task set."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.config import BUILTIN
from services.contracts.errors import BadInput


def serve_green_agent(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9009,
    card_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where others reach this server. Default: http://HOST:PORT/.")
    ] = None,
    tasks: Annotated[str, typer.Option(help="A task set folder, its URL, or 'builtin'.")] = BUILTIN,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where each assessment leaves its run folder.")] = Path(
        "runs"
    ),
) -> None:
    """Assess agents over A2A (AgentBeats requests) until Ctrl-C."""
    from cluster.listening import check_port
    from cluster.tasksets.opening import open_task_set

    try:
        from cluster.green import server
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is missing: install assay[green-agent]") from error
    task_set = open_task_set(tasks)
    task_set.check_databases(task_set.manifest.databases)
    port = check_port(host, port)
    url = card_url or f"http://{host}:{port}/"
    agent = server.AssayGreenAgent(task_set, tasks, out)
    typer.echo(url)
    server.serve(server.application(agent, server.card_of(url, task_set.manifest.name)), host, port)
