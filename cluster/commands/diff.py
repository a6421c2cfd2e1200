"""`assay diff LEFT RIGHT`: whether two tables are equal, as text, JSON or a page of HTML. Exit 1 if they are not."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.commands import STOPPED
from services.contracts.errors import BadInput

SOURCE = "A Parquet file or folder, a Delta folder (FOLDER@VERSION for an old one), or FILE.duckdb::TABLE."


def diff(
    left: Annotated[str, typer.Argument(metavar="LEFT", help=SOURCE)],
    right: Annotated[str, typer.Argument(metavar="RIGHT", help="The table to compare it with.")],
    key: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Names a row; may be repeated.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Leave out; may be repeated.")] = None,
    rtol: Annotated[float, typer.Option(help="Relative tolerance of FLOAT and DOUBLE.")] = 1e-9,
    atol: Annotated[float, typer.Option(help="Absolute one, in units of each column's typical size.")] = 1e-9,
    examples: Annotated[int, typer.Option(min=0, max=20, help="Counterexamples; 0: the verdict only.")] = 20,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as one HTML page, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Compare two tables as bags of rows; exit 1 if they differ."""
    from cluster.commands.comparison import page, print_comparison, reading_progress
    from services.grader.tables.compare import compare
    from services.grader.tables.verdict import TableJob, TableRules

    if not 0 <= rtol < 1 or not 0 <= atol < float("inf"):
        raise BadInput("--rtol must be at least 0 and below 1, --atol at least 0")
    rules = TableRules(key=tuple(key or ()), ignore=tuple(ignore or ()), rtol=rtol, atol=atol, examples=examples)
    try:
        with reading_progress() as on_progress:
            found = compare(TableJob(left=left, right=right, rules=rules), on_progress)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    if html is not None:
        _write(html, page(found))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_comparison(found)
    raise typer.Exit(0 if found.equal else 1)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
