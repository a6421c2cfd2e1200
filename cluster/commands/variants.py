"""`assay tasks variants`: other databases under the same rules, on which answers are verified."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cluster.config import BUILTIN
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import BadInput
from services.env_actor.fetching import is_url
from services.env_actor.taskset import TaskSet


def variants(
    task_set: Annotated[str, typer.Argument(metavar="DIR", help="A task set folder, its URL, or 'builtin'.")],
    out: Annotated[
        Path | None, typer.Option(help="Copy the task set there first. Needed for a URL or 'builtin'.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other rows.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="Search 20 times as long for what is left over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Build the variants of a task set's databases; finishes what an interrupted build began."""
    from cluster.console import counting
    from cluster.tasksets.variants import add_variants
    from cluster.tasksets.variation import report, show

    target = _target(task_set, out)
    with counting("databases", len(target.manifest.databases)) as progress:
        add_variants(target, seed, progress, tuple(target.manifest.databases) if check else ())
    figures = report(TaskSet(target.folder))
    if as_json:
        typer.echo(figures.model_dump_json(indent=1))
    else:
        show(figures)


def _target(source: str, out: Path | None) -> TaskSet:
    """The folder that variants are added to. Raises BadInput."""
    if out is None:
        if source == BUILTIN or is_url(source):
            raise BadInput(f"variants of {source} need a folder of their own: add --out DEST")
        return open_task_set(source)
    if not out.exists():
        shutil.copytree(open_task_set(source).folder, out)
    return TaskSet(out)
