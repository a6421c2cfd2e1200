"""`assay time ORIGINAL REWRITE`: whether a rewrite is faster, and what it would be paid. Exit 1 if it is not."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from cluster.commands import STOPPED
from services.contracts.errors import BadInput

SQL = "A file of SQL statements; the result of the last one is the output."


def time_(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help=SQL)],
    rewrite: Annotated[Path, typer.Argument(metavar="REWRITE", help="The SQL that should be faster.")],
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A DuckDB file, Parquet file or folder; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for runtime.json, which assay regrade reads.")] = None,
    mode: Annotated[str, typer.Option("--pay", help="log, helios_gate or bird_steps.")] = "log",
    production: Annotated[
        list[float] | None, typer.Option(metavar="SECONDS", help="One run of the original in production; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the runs.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Time a rewrite beside its original in fresh processes, one core, ABBA; exit 1 unless it is equal and faster."""
    from cluster.commands.findings import print_grade
    from cluster.console import counting
    from cluster.runtime import most_runs, source_of, statements_in, time_rewrite, write_grade
    from services.grader.runtime.job import Comparison, Job
    from services.grader.runtime.pay import PayMode, PayRules

    if mode not in get_args(PayMode):
        raise BadInput(f"--pay {mode} is none of {', '.join(get_args(PayMode))}")
    if out is not None and out.exists():
        raise BadInput(f"{out} is there already: choose another folder")
    job = Job(statements=statements_in(original), sources=tuple(map(source_of, source or ())))
    comparison = Comparison(original=job, rewrite=statements_in(rewrite), seed=seed)
    try:
        with counting("runs at most", most_runs()) as on_runs:
            found = time_rewrite(comparison, PayRules.model_validate({"mode": mode}), tuple(production or ()), on_runs)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    if out is not None:
        write_grade(out, found)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_grade(found)
    raise typer.Exit(0 if found.finding.verdict == "faster" and found.equality and found.equality.equal else 1)
