"""`assay regrade DIR`: every reward derived again from what is stored. Exit 1 if one differs."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from services.contracts.errors import BadInput

SHOWN = 50


def regrade(
    run: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A folder of assay rollout, evaluate, time or optimize; a run's URL."),
    ],
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Take a rewrite's timings again, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Derive every reward again from what is stored; exit 1 if one differs or a new measurement says otherwise."""
    from cluster.etl.regrading import SUBMISSION
    from cluster.run import place_of
    from cluster.runtime import FILE

    folder, mirror = place_of(run)
    if mirror is None and (folder / FILE).exists():
        raise typer.Exit(_regrade_runtime(folder, remeasure, as_json))
    is_submission = mirror is None and (folder / SUBMISSION).exists()
    if remeasure and is_submission:
        raise BadInput(f"{run}: the rows that it was timed on were made for that and are gone: optimize the job again")
    if remeasure:
        raise BadInput(f"--remeasure needs a folder with a {FILE}, which {run} is not: leave the flag out")
    if is_submission:
        raise typer.Exit(_regrade_submission(folder, as_json))
    raise typer.Exit(_regrade_episodes(run, as_json))


def _regrade_episodes(run: str, as_json: bool) -> int:
    from cluster.console import counting
    from cluster.regrade import Regrader
    from cluster.run import RunFolder, place_of

    folder = RunFolder.open(*place_of(run))
    regrader = Regrader(folder)
    with counting("regraded", folder.manifest.planned) as progress:
        summary = asyncio.run(regrader.regrade(progress))
    if as_json:
        typer.echo(summary.model_dump_json(indent=1))
        return 1 if summary.differences else 0
    for difference in summary.differences[:SHOWN]:
        typer.echo(
            f"{difference.episode_id} {difference.where}: stored {difference.stored}, derived {difference.derived}"
        )
    typer.echo(f"{summary.episodes} episodes, {summary.graded} regraded, {len(summary.differences)} differences")
    for what, count in sorted(summary.taken_as_given.items()):
        typer.echo(f"  taken as given: {what}: {count}")
    return 1 if summary.differences else 0


def _regrade_submission(folder: Path, as_json: bool) -> int:
    from cluster.etl.regrading import submission_differences

    differences = submission_differences(folder)
    if as_json:
        said = [difference.model_dump(mode="json") for difference in differences]
        typer.echo(json.dumps({"differences": said}, indent=1))
        return 1 if differences else 0
    for difference in differences:
        typer.echo(f"{difference.where}: stored {difference.stored}, derived {difference.derived}")
    typer.echo(f"1 submission regraded, {len(differences)} differences")
    return 1 if differences else 0


def _regrade_runtime(folder: Path, again: bool, as_json: bool) -> int:
    from cluster.commands.findings import print_second
    from cluster.console import counting
    from cluster.runtime import most_runs, read_grade, remeasure
    from services.grader.runtime.grade import grade_differences

    stored = read_grade(folder)
    differences = grade_differences(stored)
    opinion = None
    if again:
        with counting("runs at most", most_runs()) as on_runs:
            opinion = remeasure(stored, on_runs)
    if as_json:
        said = {"differences": [difference.model_dump(mode="json") for difference in differences]}
        second = None if opinion is None else {"stands": opinion.stands, **opinion.model_dump(mode="json")}
        typer.echo(json.dumps(said | {"remeasured": second}, indent=1))
    else:
        for difference in differences:
            typer.echo(f"{difference.where}: stored {difference.stored}, derived {difference.derived}")
        typer.echo(f"1 rewrite regraded, {len(differences)} differences")
        if opinion is not None:
            print_second(opinion)
    return 1 if differences or (opinion is not None and not opinion.stands) else 0
