"""`assay train`: from a task set to a checkpoint that plays."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands import STOPPED
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import BadInput

MISSING = "training takes PyTorch: pip install -c requirements/torch.txt -r requirements/train.txt"


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training's YAML file.")],
    out: Annotated[Path | None, typer.Option(help="The training's folder. Default: runs/<name>-<time>.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Train a policy: offline from demonstrations, then online by rewards on other databases."""
    from cluster.config import read_config
    from cluster.console import err
    from cluster.session import ray_session
    from cluster.training.folder import begin
    from cluster.training.settings import TrainConfig
    from cluster.training.stages import Stages

    settings = read_config(config, TrainConfig, override or [])
    if resume and out is None:
        raise BadInput("--resume needs --out with the training's folder")
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadInput(MISSING) from error
    task_set = open_task_set(settings.tasks)
    folder = out or Path("runs") / f"{settings.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    stages = Stages(settings, folder.resolve(), task_set, lambda text: err.print(text, highlight=False, soft_wrap=True))
    sides = stages.planned()
    begin(folder, settings, task_set, resume)
    try:
        with ray_session():
            from cluster.training.training import train as run

            outcome = run(stages, sides)
    except KeyboardInterrupt:
        err.print(f"stopped; finish with: assay train {config} --out {folder} --resume", highlight=False)
        raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(outcome.model_dump_json(indent=1))
        return
    for name, value in sorted(outcome.figures.items(), key=lambda one: -one[1]):
        typer.echo(f"{value:6.1%} of the validation tasks by {name}")
    typer.echo(f"checkpoint: {outcome.checkpoint}")
