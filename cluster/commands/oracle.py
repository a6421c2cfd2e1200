"""`assay tasks oracle`: the gold of a task set as a script that a policy can play."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.tasksets.opening import open_task_set

WARNING = "this file holds the gold of every task: play it as the upper bound, keep it from any policy that learns"


def oracle(
    task_set: Annotated[str, typer.Argument(metavar="DIR", help="A task set folder, its URL, or 'builtin'.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
) -> None:
    """Write the gold as a script, to be played as the upper bound: scripted:FILE."""
    from cluster.console import err
    from cluster.evaluation.oracle import write_oracle

    count = write_oracle(open_task_set(task_set), file)
    err.print(f"warning: {WARNING}", highlight=False, soft_wrap=True)
    typer.echo(f"{count} scripts; play them as policy scripted:{file}")
