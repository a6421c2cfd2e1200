"""`assay evaluate`: several policies on the same tasks, seeds and samples, with intervals, tests and gates."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.config import load_config
from cluster.tasksets.opening import open_task_set


def evaluate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A rollout's YAML file with several policies.")],
    out: Annotated[str | None, typer.Option(help="The run folder, or its URL. Default: runs/<name>-<time>.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish the evaluation in --out, or add policies or samples to it.")
    ] = False,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="[POLICY:]METRIC=VALUE", help="Exit 1 if a figure, as success_rate, is under the value."),
    ] = None,
    no_worse_than: Annotated[
        str | None, typer.Option(metavar="RUN", help="Exit 1 if a policy is significantly worse than in that run.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Evaluate policies on the same tasks and samples, and say which is better, by how much."""
    from cluster.commands.playing import leave, play, run_place
    from cluster.console import out as stdout
    from cluster.evaluation import gates, playing
    from cluster.evaluation.page import write_page
    from cluster.evaluation.results import write_evaluation
    from cluster.evaluation.runs import compare_runs
    from cluster.evaluation.tables import evaluation_view
    from cluster.rollout import prepare
    from cluster.run import RunFolder, place_of

    settings = load_config(config, override or [])
    path, mirror = run_place(out, settings, resume)
    floors = [gates.read_floor(text, settings.policies, settings.samples) for text in fail_under or ()]
    reference = None if no_worse_than is None else RunFolder.open(*place_of(no_worse_than))
    prepared = prepare(settings, open_task_set(settings.tasks.path), None)
    if reference is not None:
        gates.check_reference(reference, prepared)
    run = playing.grow(path, prepared, mirror) if resume else playing.start(path, prepared, mirror)
    play(prepared, run, f"evaluate {config}")
    evaluation = write_evaluation(run, prepared.task_set)
    write_page(evaluation, path)
    run.publish()
    if as_json:
        typer.echo(evaluation.model_dump_json(indent=1))
    else:
        stdout.print(evaluation_view(evaluation), highlight=False)
    failed = gates.under(evaluation, floors)
    if reference is not None:
        failed += gates.worse(compare_runs(reference, run))
    leave(run)
    _end(failed)


def _end(failed: list[str]) -> None:
    """Exit 1 with one line if a gate failed."""
    from cluster.console import err

    if failed:
        err.print("gate failed: " + "; ".join(failed), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)
