"""`assay baselines`: publish an evaluation as the baselines of its task set, or set another one beside them."""

from pathlib import Path
from typing import Annotated

import typer

baselines_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Publish baselines, and compare with them."
)
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished evaluation.")]


@baselines_app.command("publish")
def publish_baselines(
    run: Run, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="As docs/baselines.")]
) -> None:
    """Write the evaluation's figures, with the hashes of all they hold for, as JSON and as a Markdown table."""
    from cluster.evaluation.baselines import publish, read_evaluation
    from cluster.run import RunFolder

    typer.echo(publish(read_evaluation(RunFolder.open(run)), folder))


@baselines_app.command("check")
def check_baselines(
    run: Run, file: Annotated[Path, typer.Argument(metavar="FILE", help="As docs/baselines/builtin.json.")]
) -> None:
    """Set an evaluation's figures beside published ones; refused if task set, seed, samples or limits differ."""
    from cluster.console import out
    from cluster.evaluation.baselines import check_conditions, read_baselines, read_evaluation
    from cluster.evaluation.tables import beside
    from cluster.run import RunFolder

    evaluation, published = read_evaluation(RunFolder.open(run)), read_baselines(file)
    check_conditions(evaluation, published)
    out.print(beside(published.policies, evaluation.policies), highlight=False)
