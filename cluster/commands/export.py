"""`assay export`: what a run holds, in the forms that trainers read."""

import json
from pathlib import Path
from typing import Annotated

import typer

from services.contracts.errors import BadInput

export_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Turn a run into a trainer's files.")


@export_app.callback()
def _export() -> None:
    """Turn a run into a trainer's files."""


@export_app.command("messages")
def messages(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or one that assay optimize has left.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A JSON-lines file that is not there yet.")],
    verdict: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Which episodes; may be repeated; any for all.")
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="text or tools. Default: as the run's model was asked, else text.")
    ] = None,
    reasoning: Annotated[
        bool, typer.Option("--reasoning/--no-reasoning", help="With what the model said beside its actions.")
    ] = True,
) -> None:
    """Write episodes as chats for fine-tuning, in OpenAI's format; by default those with the right answer only."""
    from cluster.messages import Exporter, etl_example
    from cluster.run import RunFolder, write_whole

    if out.exists():
        raise BadInput(f"{out} is there already: name another FILE")
    verdicts = frozenset(verdict or ["correct"])
    match style:
        case "text" | "tools" | None:
            form = style
        case _:
            raise BadInput(f"--style {style} is neither text nor tools")
    if (run / "messages.json").exists():
        found = etl_example(run, verdicts)
    else:
        found = Exporter(RunFolder.open(run), form, reasoning).examples(verdicts)
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in found]
    try:
        write_whole(out, "".join(lines))
    except OSError as error:
        raise BadInput(f"cannot write {out}: {error.strerror}") from error
    typer.echo(f"{len(lines)} examples in {out}")


@export_app.command("rllib")
def rllib(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of explore episodes.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that is not there yet.")],
    most: Annotated[int, typer.Option(min=2, max=1024, help="Candidates kept of a state.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which episodes are written.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Write each operation that episodes answered with, and what it was chosen from, for RLlib's offline algorithms."""
    from cluster.run import RunFolder
    from cluster.session import ray_session
    from cluster.training.exporting import export

    folders = [RunFolder.open(run) for run in runs]
    with ray_session():
        written = export(folders, out, most, seed)
    if as_json:
        typer.echo(written.model_dump_json())
        return
    skipped = f"; {written.skipped} more answered with nothing that operations can say" if written.skipped else ""
    typer.echo(f"{written.decisions} decisions of {written.episodes} episodes in {out}{skipped}")
