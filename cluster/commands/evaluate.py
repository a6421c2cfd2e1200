"""`assay evaluate`: several policies on the same tasks, seeds and samples, with intervals, tests and gates."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cluster.config import load_config
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import BadInput

STOPPED = 130


def evaluate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A rollout's YAML file with several policies.")],
    out: Annotated[Path | None, typer.Option(help="The run folder. Default: runs/<name>-<time>.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish the evaluation in --out, or add policies or samples to it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Evaluate policies on the same tasks and samples, and say which is better, by how much."""
    from cluster.console import err, rollout_progress
    from cluster.console import out as stdout
    from cluster.evaluation import playing
    from cluster.evaluation.results import write_evaluation
    from cluster.evaluation.tables import evaluation_view
    from cluster.rollout import prepare, run_rollout

    if resume and out is None:
        raise BadInput("--resume needs --out with the run folder to finish")
    settings = load_config(config, override or [])
    prepared = prepare(settings, open_task_set(settings.tasks.path), None)
    path = out or Path("runs") / f"{settings.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    run = playing.grow(path, prepared) if resume else playing.start(path, prepared)
    try:
        with rollout_progress(len(prepared.specs), len(run.episodes())) as progress:
            run_rollout(prepared, run, progress.on_done)
    except KeyboardInterrupt:
        err.print(f"stopped; finish with: assay evaluate {config} --out {path} --resume", highlight=False)
        raise typer.Exit(STOPPED) from None
    evaluation = write_evaluation(run, prepared.task_set)
    if as_json:
        typer.echo(evaluation.model_dump_json(indent=1))
    else:
        stdout.print(evaluation_view(evaluation), highlight=False)
        err.print(f"run folder: {path}", highlight=False)
