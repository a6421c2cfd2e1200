"""`assay tasks demonstrate`: the gold of a task set as operations of the structured tier, each one proven."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.oracle import WARNING
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import BadInput


def demonstrate(
    task_set: Annotated[str, typer.Argument(metavar="DIR", help="A task set folder, its URL, or 'builtin'.")],
    out: Annotated[Path, typer.Option(help="A JSON-lines file that is not there yet.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Translate every gold into operations, prove each by running it, and write what holds."""
    from cluster.console import counting, err
    from cluster.run import write_whole
    from cluster.tasksets.demonstrations import Refusal, report
    from cluster.tasksets.demonstrations import demonstrate as prove
    from services.policy.tier.demonstration import Demonstration

    if out.exists():
        raise BadInput(f"{out} is there already: name another --out")
    tasks = open_task_set(task_set)
    proven: list[Demonstration] = []
    refused: list[Refusal] = []

    async def collect() -> None:
        with counting("tasks", len(tasks.tasks)) as progress:
            async for one in prove(tasks):
                if isinstance(one, Demonstration):
                    proven.append(one)
                else:
                    refused.append(one)
                progress(len(proven) + len(refused))

    asyncio.run(collect())
    try:
        write_whole(out, "".join(one.model_dump_json() + "\n" for one in proven))
    except OSError as error:
        raise BadInput(f"cannot write {out}: {error.strerror}") from error
    figures = report(proven, refused)
    err.print(f"warning: {WARNING}", highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(figures.model_dump_json(indent=1))
        return
    typer.echo(f"{figures.proven} of {figures.tasks} golds said in operations ({figures.share:.1%}), each proven")
    typer.echo(f"operations of a task: {figures.operations_mean:.1f} in the mean, {figures.operations_most} at most")
    typer.echo(
        f"reachable by candidates alone: {figures.reachable_share:.1%} of them; "
        f"candidates of a step: {figures.candidates_mean:.0f} in the mean, {figures.candidates_most} at most"
    )
    for reason, count in figures.reasons.items():
        typer.echo(f"  {count:5d}  {reason}")
