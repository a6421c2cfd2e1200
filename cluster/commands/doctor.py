"""`assay doctor`: what this machine has for Assay, row by row."""

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cluster.doctor.checks import Check, Diagnosis

_STYLES = {"ok": "green", "missing": "yellow", "failed": "yellow", "optional, not installed": "dim"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> None:
    """Say which sandbox layers, and what else Assay needs, this machine has; exit 1 if a required one is not fine."""
    from cluster.console import counting
    from cluster.doctor.examination import STEPS, examine

    with counting("steps of the examination", len(STEPS)) as progress:
        diagnosis = examine(progress)
    if as_json:
        typer.echo(json.dumps({"fine": diagnosis.fine, **diagnosis.model_dump(mode="json")}, indent=1))
    else:
        print_diagnosis(diagnosis)
    raise typer.Exit(0 if diagnosis.fine else 1)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """The rows as a table, and the verdict below it."""
    from cluster.console import out

    out.print(_as_table(diagnosis))
    out.print(_verdict(diagnosis), highlight=False, markup=False)


def _as_table(diagnosis: Diagnosis) -> Table:
    table = Table("check", "state")
    for heading in ("what was seen", "what to do"):
        table.add_column(heading, overflow="fold")
    group = ""
    for check in diagnosis.checks:
        if check.group != group:
            group = check.group
            table.add_section()
            table.add_row(Text(group, style="bold"))
        state = Text(check.state, style="bold red" if check.is_fault else _STYLES[check.state])
        table.add_row(Text(check.name), state, Text(check.seen), Text(_advice(check)))
    return table


def _advice(check: Check) -> str:
    return check.advice if check.required or check.state != "missing" else f"not required; {check.advice}"


def _verdict(diagnosis: Diagnosis) -> str:
    faults = diagnosis.faults()
    if not faults:
        return "fine: everything that is required is there"
    return f"not fine: {', '.join(check.name for check in faults)}"
