"""`assay compare`: two runs on the same tasks, paired, and the tasks that flipped."""

from typing import Annotated

import typer


def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A run folder, or its URL: what was.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="A run folder, or its URL: what is now.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Say what changed from run A to run B, and which tasks flipped either way."""
    from cluster.console import out
    from cluster.evaluation.runs import compare_runs
    from cluster.evaluation.tables import run_comparison_view
    from cluster.run import RunFolder, place_of

    compared = compare_runs(RunFolder.open(*place_of(run_a)), RunFolder.open(*place_of(run_b)))
    if as_json:
        typer.echo(compared.model_dump_json(indent=1))
    else:
        out.print(run_comparison_view(compared), highlight=False)
