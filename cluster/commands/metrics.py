"""`assay metrics`: a real Prometheus that scrapes a running Ray cluster, and pictures of what it saw."""

import json
from pathlib import Path
from typing import Annotated

import typer

metrics_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Watch a running cluster.")


@metrics_app.callback()
def _metrics() -> None:
    """Watch a running cluster."""


@metrics_app.command("up")
def up(
    ray_folder: Annotated[Path, typer.Option(help="The cluster's --temp-dir.")] = Path("/tmp/ray"),  # noqa: S108
    folder: Annotated[Path, typer.Option("--dir", help="Where the figures are kept.")] = Path("runs/prometheus"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9090,
    every: Annotated[int, typer.Option(min=1, max=60, help="Seconds between two looks.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Start a Prometheus on 127.0.0.1 that scrapes the cluster and knows Assay's rules, and say how to stop it."""
    from cluster.prometheus import start_prometheus

    watching = start_prometheus(ray_folder, folder, port, every)
    if as_json:
        typer.echo(watching.model_dump_json())
        return
    typer.echo(f"Prometheus at {watching.url}, its figures in {watching.folder}; stop it with: kill {watching.pid}")


@metrics_app.command("draw")
def draw(
    url: Annotated[str, typer.Argument(metavar="URL", help="A Prometheus, as `assay metrics up` names it.")],
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="Where the pictures go, an SVG a dashboard.")],
    minutes: Annotated[int, typer.Option(min=1, help="How far back they look.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Draw Assay's dashboards without Grafana: every panel's own queries, over the last minutes."""
    from cluster.pictures import draw_dashboards

    drawn = draw_dashboards(url.rstrip("/"), folder, minutes * 60)
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in drawn]))
        return
    for one in drawn:
        lacking = f"; no data for: {', '.join(one.empty)}" if one.empty else ""
        typer.echo(f"{one.path}: {one.panels} panels{lacking}")
